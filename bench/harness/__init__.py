# SPDX-License-Identifier: Apache-2.0
"""What ./bench/run is made of: servers and load generators as processes, slices taken in turn,
statistics over rounds, and the three ways in which results are shown."""
