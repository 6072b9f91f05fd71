// SPDX-License-Identifier: Apache-2.0
#include "objstore/spill/checksum_code.inc"

namespace rmpi::objstore::spill {

const ChecksumCode kPlainChecksum = {Reset, Add, Value};

}  // namespace rmpi::objstore::spill
