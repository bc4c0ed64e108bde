# SPDX-License-Identifier: Apache-2.0
"""What the Python tests share: TTLV, the vocabulary, OASIS test cases, a server and its client."""
