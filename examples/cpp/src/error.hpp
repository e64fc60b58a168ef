// The errors of this library: one line that names the thing, its value and the way out.
#pragma once

#include <stdexcept>
#include <string>

namespace bmc {

/// A bundle, a text or an argument that cannot be used.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A bundle that gives other outputs on this device, or that failed a check when it was exported.
class CheckError : public Error {
 public:
  using Error::Error;
};

/// A part of a bundle that this library does not know; the bundle may run in another way.
class UnsupportedError : public Error {
 public:
  using Error::Error;
};

/// Returns a text in quotes, cut to 60 bytes, for a message.
std::string in_quotes(const std::string& text);

}  // namespace bmc
