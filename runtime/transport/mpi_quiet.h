// SPDX-License-Identifier: Apache-2.0
// When a rank dies, Open MPI 4 prints a page to each survivor's stderr: the job "may now hang or fail". Here
// it goes on, and who died is said by ourselves, once. Other pages of Open MPI's are printed as ever.
#pragma once

namespace rmpi {

// After MPI_Init. Does nothing with another MPI.
void SilencePagesAboutDeadPeers();

}  // namespace rmpi
