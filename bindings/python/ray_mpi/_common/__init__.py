# SPDX-License-Identifier: Apache-2.0
"""ray._common: where newer packages look for what older ones find below ray._private."""
