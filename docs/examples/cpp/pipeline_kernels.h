// SPDX-License-Identifier: Apache-2.0
// The C++ functions of the pipeline, in libpipeline_kernels.so: remote functions of pipeline.py and of
// pipeline.cc.
#pragma once

#include <ray/api.h>

/// The image filtered by a Gaussian of that width, in pixels.
/// \throws std::invalid_argument when the image has not two dimensions, or the width is not above 0.
ray::View<float> Smooth(ray::View<float> image, double width);

/// The stars of an image: rows of x, y and flux, one for every maximum above the threshold.
/// \throws std::invalid_argument when the image has not two dimensions.
ray::View<double> FindStars(ray::View<float> image, double threshold);
