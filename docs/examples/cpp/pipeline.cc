// SPDX-License-Identifier: Apache-2.0
// Finds the variable star in a series of noisy images, as pipeline.py does, with a driver in C++: the images
// are made and the result is judged by the Python functions of pipeline.py, which lies beside this program.
//
//     ./pipeline                      # this machine
//     ray-mpi -n 3 ./pipeline         # three ranks on this machine
//     srun ray-mpi ./pipeline         # a Slurm allocation
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "pipeline_kernels.h"
#include "program.h"
#include "progress.h"

namespace {

using Image = ray::View<float>;
using Table = ray::View<double>;
using Finding = std::map<std::string, double>;  // a dict in Python

constexpr double kBlur = 1.5;       // the width of a star, in pixels
constexpr double kThreshold = 5.0;  // the noise of an image is 1, after Smooth 0.2

const ray::PyFunction<Image> kMakeImage{"pipeline", "make_image"};
const ray::PyFunction<Finding> kFindVariable{"pipeline", "find_variable"};
const ray::PyFunction<Finding> kTruth{"pipeline", "truth"};

void Print(const char* what, const Finding& f) {
  std::printf("%s %g stars, the one at %.2f, %.2f has a period of %.2f images\n", what, f.at("stars"),
              f.at("x"), f.at("y"), f.at("period"));
}

/// Rows of image, x, y and flux: the stars of all images. Python gets it as an array.
Table SeenInAll(const std::vector<ray::ObjectRef<Table>>& images) {
  Progress progress("images", images.size());
  std::vector<double> rows;
  for (size_t number = 0; number < images.size(); ++number) {
    const Table stars = *ray::Get(images[number]);
    const size_t count = stars.shape()[0];
    for (size_t i = 0; i < count; ++i) {
      rows.push_back(static_cast<double>(number));
      rows.insert(rows.end(), stars.data() + 3 * i, stars.data() + 3 * i + 3);
    }
    progress.Update(number + 1, std::to_string(count) + " stars in the last");
  }
  const size_t count = rows.size() / 4;
  return Table(std::move(rows), {count, 4});
}

/// The same without tasks: Smooth and FindStars are plain functions, too. How many images came out
/// differently, by as little as one bit.
int CountDifferences(const std::vector<ray::ObjectRef<Table>>& stars) {
  int different = 0;
  for (size_t number = 0; number < stars.size(); ++number) {
    const Image image = *ray::Get(ray::Task(kMakeImage).Remote(static_cast<int>(number)));
    const Table here = FindStars(Smooth(image, kBlur), kThreshold), there = *ray::Get(stars[number]);
    different += std::equal(here.begin(), here.end(), there.begin(), there.end()) ? 0 : 1;
  }
  return different;
}

int Run(int images, bool check) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<ray::ObjectRef<Table>> stars;
  for (int number = 0; number < images; ++number) {
    const ray::ObjectRef<Image> image = ray::Task(kMakeImage).Remote(number);
    const ray::ObjectRef<Image> smooth = ray::Task(Smooth).Remote(image, kBlur);
    stars.push_back(ray::Task(FindStars).Remote(smooth, kThreshold));
  }
  const Finding found = *ray::Get(ray::Task(kFindVariable).Remote(SeenInAll(stars)));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Finding right = *ray::Get(ray::Task(kTruth).Remote());
  Print("answer:", found);
  Print("truth: ", right);
  std::printf("speed:  %.0f tasks per second, %.1f s in all\n", (3 * images + 1) / seconds, seconds);
  for (const auto& [name, value] : right) {
    if (std::abs(found.at(name) - value) > 0.1) {
      std::cerr << "pipeline: the answer is wrong: " << name << "\n";
      return 1;
    }
  }
  if (!check) return 0;
  const int different = CountDifferences(stars);
  std::printf("check:  %d of %d images differ from a serial computation\n", different, images);
  return different == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  int images = 60;
  Options options("Finds the variable star in a series of noisy images");
  options.Add("images", &images, "how many, at least 20; each is three tasks");
  const auto refuse = [&] {
    return images >= 20 ? "" : "--images must be at least 20, or the period cannot be found";
  };
  return RunProgram("pipeline", argc, argv, options, refuse, [&](bool check) { return Run(images, check); });
}
