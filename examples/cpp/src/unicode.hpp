// UTF-8, character classes, normal forms and lower case, as in the Python package tokenizers.
#pragma once

#include <string>
#include <string_view>

#include "unicode_tables.hpp"

namespace bmc {

/// A text as Unicode code points.
using Codes = std::u32string;
using CodesView = std::u32string_view;

/// Returns the code points of a text in UTF-8.
///
/// Throws Error where the bytes are not UTF-8: the message counts bytes from 1 and begins with
/// `what`, the name of the text.
Codes decode_utf8(std::string_view text, const std::string& what);

void append_utf8(std::string& text, char32_t code);

bool is_space(char32_t code);
bool is_punctuation(char32_t code);
bool is_removed(char32_t code);
bool is_nonspacing(char32_t code);
bool is_mark(char32_t code);
bool is_ideograph(char32_t code);

/// Returns whether Python's str.strip and \s count a character as white space.
bool is_python_space(char32_t code);

Codes to_nfd(CodesView text);
Codes to_nfc(CodesView text);
Codes to_lowercase(CodesView text);

}  // namespace bmc
