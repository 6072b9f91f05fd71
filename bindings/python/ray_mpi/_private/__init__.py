# SPDX-License-Identifier: Apache-2.0
"""Names below ray._private that packages in the wild use."""
