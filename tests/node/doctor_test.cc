// SPDX-License-Identifier: Apache-2.0
#include "runtime/node/doctor.h"

#include <gmock/gmock.h>

#include "runtime/node/command.h"
#include "tests/node/fake_root.h"

namespace rmpi {
namespace {

using testing::HasSubstr;

constexpr char kMpiList[] =
    "MPI plugin types are...\n\tpmix\n\tnone\n\tpmi2\nspecific pmix plugin versions available: pmix_v4\n";
constexpr char kUcx[] = "# Transport: tcp\n#      Device: eth0\n# Transport: self\n#      Device: memory\n";

class DoctorTest : public testing::Test {
 protected:
  DoctorTest() {
    options_.command = {"ray-mpi", "app.py"};
    options_.detect.root = root_.path();
    options_.detect.mask = ParseCpuList("0-15");
    options_.output_of = [this](const std::vector<std::string>& command) -> std::optional<std::string> {
      auto it = outputs_.find(command[0]);
      return it == outputs_.end() ? std::nullopt : std::optional(it->second);
    };
  }

  DoctorCheck Check(const std::string& name) {
    for (const DoctorCheck& check : DoctorReport(options_)) {
      if (check.check == name) return check;
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }

  FakeRoot root_;
  DoctorOptions options_;
  std::map<std::string, std::string> outputs_;
};

TEST_F(DoctorTest, MissingPluginFailsWithAdvice) {
  EXPECT_EQ(Check("mpi").health, Health::kFail);
  options_.mpi_plugin = "/nonexistent/libray-mpi-mpi.so";
  EXPECT_EQ(Check("mpi").health, Health::kFail);
  EXPECT_THAT(Check("mpi").text, HasSubstr("nonexistent"));
  EXPECT_THAT(Check("mpi").advice, HasSubstr("mpicc"));
}

TEST_F(DoctorTest, LibraryWithoutMpiIsNoPlugin) {
  options_.mpi_plugin = "libm.so.6";
  EXPECT_EQ(Check("mpi").health, Health::kFail);
}

TEST_F(DoctorTest, GpusAndHowTasksSeeThem) {
  EXPECT_EQ(Check("gpus").text, "0 GPUs");
  root_.Write("/proc/driver/nvidia/gpus/0000:01:00.0/information",
              "Model: \t\t NVIDIA H200\nDevice Minor: \t 0\n");
  EXPECT_EQ(Check("gpus").text, "0 GPUs") << "not in /dev here";
  root_.Write("/dev/nvidia0", "");
  EXPECT_EQ(Check("gpus").text, "1 GPUs: 0, model H200, numbered; tasks see theirs in CUDA_VISIBLE_DEVICES");
  options_.detect.environment["CUDA_VISIBLE_DEVICES"] = "GPU-aa,GPU-bb";
  EXPECT_EQ(Check("gpus").text, "2 GPUs: GPU-aa,GPU-bb, model H200, as CUDA_VISIBLE_DEVICES says");
}

TEST_F(DoctorTest, SlurmsPmiPlugins) {
  EXPECT_THAT(Check("pmi").text, HasSubstr("no Slurm"));
  outputs_["srun"] = kMpiList;
  outputs_["scontrol"] = "Foo = 1\nMpiDefault              = pmix\n";
  EXPECT_EQ(Check("pmi").health, Health::kOk);
  EXPECT_EQ(Check("pmi").text, "Slurm has: pmi2 pmix pmix_v4; its default is pmix");
  outputs_["scontrol"] = "MpiDefault              = none\n";
  EXPECT_EQ(Check("pmi").health, Health::kWarn);
  EXPECT_THAT(Check("pmi").advice, HasSubstr("--mpi=pmix"));
  outputs_["srun"] = "MPI plugin types are...\n\tnone\n\tpmi2\n";
  EXPECT_EQ(Check("pmi").health, Health::kFail);
}

TEST_F(DoctorTest, TheLineToRunFitsTheMachine) {
  EXPECT_THAT(Check("run").text, HasSubstr("ray-mpi -n 2 app.py"));  // no Slurm
  options_.detect.environment = {{"PMIX_NAMESPACE", "slurm.pmix.1.0"}, {"SLURM_JOB_ID", "1"}};
  EXPECT_EQ(Check("run").text, "srun --mpi=pmix ray-mpi app.py");
  options_.detect.environment.clear();
  outputs_["srun"] = kMpiList;
  EXPECT_EQ(Check("run").text, "srun --mpi=pmix ray-mpi app.py");
  outputs_["srun"] = "MPI plugin types are...\n\tnone\n\tpmi2\n";
  EXPECT_THAT(Check("run").text, HasSubstr("ray-mpi -n 2 app.py"));
}

TEST_F(DoctorTest, RefusedLaunchFails) {
  options_.detect.environment = {{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_JOB_ID", "1"}};
  EXPECT_EQ(Check("launch").health, Health::kFail);
  EXPECT_THAT(Check("launch").advice, HasSubstr("srun --mpi=pmix ray-mpi app.py"));
  EXPECT_EQ(Check("run").text, "srun --mpi=pmix ray-mpi app.py");
}

TEST_F(DoctorTest, NoticesOfTheDetectionAreWarnings) {
  options_.detect.launch = Launch::kSrun;
  options_.detect.mask = ParseCpuList("3");
  options_.detect.environment = {{"SLURM_CPUS_ON_NODE", "16"}};
  EXPECT_EQ(Check("notice").health, Health::kWarn);
  EXPECT_THAT(Check("notice").text, HasSubstr("--cpus-per-task=16"));
  EXPECT_THAT(Check("cpus").text, HasSubstr("1 CPUs of 3"));
}

TEST_F(DoctorTest, UcxDevices) {
  EXPECT_THAT(Check("ucx").text, HasSubstr("not installed"));
  outputs_["ucx_info"] = kUcx;
  EXPECT_EQ(Check("ucx").text, "tcp/eth0");
  outputs_["ucx_info"] = "# Transport: self\n# Device: memory\n";
  EXPECT_EQ(Check("ucx").health, Health::kWarn);
}

TEST_F(DoctorTest, MemoryWithAndWithoutALimit) {
  EXPECT_THAT(Check("memory").text, HasSubstr("16384 MiB for this rank"));
  EXPECT_THAT(Check("memory").text, HasSubstr("no control group limit"));
  root_.UseCgroup2();
  root_.Write("/sys/fs/cgroup/slurm/memory.max", std::to_string(kGiB));
  root_.Write("/sys/fs/cgroup/slurm/memory.current", std::to_string(kGiB - (40 << 20)));
  EXPECT_THAT(Check("memory").text, HasSubstr("limit 1024 MiB, 40 MiB left"));
  EXPECT_THAT(Check("notice").text, HasSubstr("the object store gets 32 MiB"));
}

TEST(OutputOf, BothStreamsTimeLimitAndMissing) {
  EXPECT_EQ(OutputOf({"sh", "-c", "echo out; echo err >&2"}, 10000), "out\nerr\n");
  EXPECT_EQ(OutputOf({"/nonexistent/command"}, 1000), std::nullopt);
  EXPECT_EQ(OutputOf({"sleep", "100"}, 50), std::nullopt);
}

}  // namespace
}  // namespace rmpi
