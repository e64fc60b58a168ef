// SHA-256 of bytes that come in pieces (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bmc {

class Sha256 {
 public:
  void update(std::string_view bytes);

  /// Returns the hash in 64 hexadecimal digits; nothing can be added afterwards.
  std::string hexdigest();

 private:
  void compress(const unsigned char* block);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> buffer_{};
  std::size_t buffered_ = 0;
  std::uint64_t length_ = 0;
};

/// Returns the hash of bytes in memory.
std::string sha256(std::string_view bytes);

}  // namespace bmc
