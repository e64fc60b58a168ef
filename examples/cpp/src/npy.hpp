// numpy's files: an array (.npy), and a zip archive of arrays (.npz).
#pragma once

#include <string>
#include <string_view>

#include "tensor.hpp"

namespace bmc {

/// Returns the array in the bytes of a .npy file; `what` names the file in messages.
///
/// Throws Error if the file is damaged, or holds something else than numbers.
Tensor parse_npy(std::string_view bytes, const std::string& what);

/// Returns the arrays in the bytes of a .npz file, by name.
///
/// Throws Error if the file is damaged, or its arrays take more than 512 MiB together.
Tensors parse_npz(std::string_view bytes, const std::string& what);

}  // namespace bmc
