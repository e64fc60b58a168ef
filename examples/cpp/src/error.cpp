#include "error.hpp"

#include <algorithm>

namespace bmc {

std::string in_quotes(const std::string& text) {
  std::size_t length = std::min<std::size_t>(text.size(), 60);
  auto continues = [&] { return (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80; };
  while (length > 0 && length < text.size() && continues()) --length;  // a character stays whole
  std::string shown = "'";
  for (const char c : text.substr(0, length)) {
    const bool is_control = static_cast<unsigned char>(c) < 32 || c == 127;
    shown += is_control ? '?' : c;
  }
  return shown + (length < text.size() ? "...'" : "'");
}

}  // namespace bmc
