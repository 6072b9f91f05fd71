// SPDX-License-Identifier: Apache-2.0
// Images come as numpy arrays of any size, and are read where they lie: a ray::View knows their shape. What
// is returned as a View with a shape is a numpy array in Python, too.
#include "pipeline_kernels.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Extent {
  size_t rows;
  size_t columns;
};

Extent ExtentOf(const ray::View<float>& image) {
  const std::vector<size_t> shape = image.shape();
  if (shape.size() != 2) {
    throw std::invalid_argument("an image has 2 dimensions, not " + std::to_string(shape.size()));
  }
  return {shape[0], shape[1]};
}

std::vector<float> Gaussian(double width) {
  if (!(width > 0)) throw std::invalid_argument("the width must be above 0");
  const auto radius = static_cast<int>(std::ceil(4 * width));
  std::vector<float> weights;
  float sum = 0;
  for (int i = -radius; i <= radius; ++i) {
    weights.push_back(static_cast<float>(std::exp(-i * i / (2 * width * width))));
    sum += weights.back();
  }
  for (float& weight : weights) weight /= sum;
  return weights;
}

/// Filters every row and transposes: twice this is the whole filter. Beyond the rim the outermost pixels go
/// on.
std::vector<float> SmoothRows(const float* image, Extent extent, const std::vector<float>& weights) {
  const size_t radius = weights.size() / 2;
  std::vector<float> out(extent.rows * extent.columns), row(extent.columns + 2 * radius);
  for (size_t i = 0; i < extent.rows; ++i) {
    const float* const from = image + i * extent.columns;
    std::fill_n(row.begin(), radius, from[0]);
    std::copy_n(from, extent.columns, row.data() + radius);
    std::fill_n(row.end() - static_cast<ptrdiff_t>(radius), radius, from[extent.columns - 1]);
    for (size_t j = 0; j < extent.columns; ++j) {
      float sum = 0;
      for (size_t k = 0; k < weights.size(); ++k) sum += weights[k] * row[j + k];
      out[j * extent.rows + i] = sum;
    }
  }
  return out;
}

/// Where, between -1 and 1, the parabola through three neighbours has its maximum.
double Peak(double before, double here, double after) {
  const double bend = before - 2 * here + after;
  return bend < 0 ? (before - after) / (2 * bend) : 0;
}

bool IsMaximum(const float* at, size_t columns) {
  const auto step = static_cast<ptrdiff_t>(columns);
  const ptrdiff_t before[] = {-step - 1, -step, -step + 1, -1};
  // Of equal neighbours the first one counts.
  return std::all_of(std::begin(before), std::end(before),
                     [at](ptrdiff_t d) { return at[0] > at[d] && at[0] >= at[-d]; });
}

}  // namespace

ray::View<float> Smooth(ray::View<float> image, double width) {
  const Extent extent = ExtentOf(image);
  if (image.empty()) return image;
  const std::vector<float> weights = Gaussian(width);
  const std::vector<float> turned = SmoothRows(image.data(), extent, weights);
  return ray::View<float>(SmoothRows(turned.data(), {extent.columns, extent.rows}, weights), image.shape());
}

ray::View<double> FindStars(ray::View<float> image, double threshold) {
  const auto [rows, columns] = ExtentOf(image);
  std::vector<double> stars;
  for (size_t y = 1; y + 1 < rows; ++y) {
    for (size_t x = 1; x + 1 < columns; ++x) {
      const float* const at = image.data() + y * columns + x;
      if (*at < threshold || !IsMaximum(at, columns)) continue;
      stars.push_back(static_cast<double>(x) + Peak(at[-1], at[0], at[1]));
      stars.push_back(static_cast<double>(y) + Peak(*(at - columns), at[0], *(at + columns)));
      stars.push_back(*at);
    }
  }
  const size_t count = stars.size() / 3;
  return ray::View<double>(std::move(stars), {count, 3});
}

RAY_REMOTE(Smooth, FindStars);
