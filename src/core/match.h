/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an object has the attributes that a Locate asks for (KMIP 1.4 §4.9). */
#ifndef KMIPD_CORE_MATCH_H
#define KMIPD_CORE_MATCH_H

#include "core/attributes.h"

/*
 * True if the object, as the client sees it (attributes_view()), matches all `wanted`
 * (struct kmip_named_attribute): masks by their bits, dates exactly or as a range when named
 * twice, structures by the fields that are given, everything else by equality. Attribute Index is
 * ignored. Names nobody knows match nothing.
 */
bool match_view(const struct kmip_list *view, const struct kmip_list *wanted);

/* True if `candidate` has every field of `wanted`, with the same value; both are Structures. */
bool match_structure(const struct kmip_any *candidate, const struct kmip_any *wanted);

#endif
