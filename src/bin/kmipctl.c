/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl: manages a running kmipd. */
#include "ctl/ctl.h"

int main(int count, char **words)
{
    return ctl_main(count, words);
}
