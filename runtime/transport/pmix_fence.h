// SPDX-License-Identifier: Apache-2.0
// One barrier over all ranks that needs no MPI message, to be called between MPI_Init and the first one.
//
// Slurm's own barrier at the end of MPI_Init does not wait where the job has no more nodes than TreeWidth (50
// by default; seen with Slurm 22.05): a rank can be out of MPI_Init while another still waits for its first
// fence there, and a message that arrives before Open MPI has set up its handlers is a jump to address 0. A
// plain MPI_Gather after MPI_Init crashed in 7 of 195 launches of four ranks on four nodes, with this in none
// of 135. A fence that collects data takes another path through Slurm (a ring), which does wait.
#pragma once

namespace rmpi {

// Under srun, returns when all ranks have called it. Elsewhere, or where this process has no libpmix of its
// own (an Open MPI with PMIx built in), it returns at once.
void WaitForRanksUnderSlurm();

}  // namespace rmpi
