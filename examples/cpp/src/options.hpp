// What the command line says.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace bmc {

struct Options {
  bool checks = false, json = false, tokens = false, helps = false;
  int threads = 1;
  std::size_t calls = 300;
  std::string bundle;
  std::vector<std::string> texts;
  std::map<std::string, std::string> arrays;  // files of .npy by the name of the input
};

/// Throws Error if a word makes no sense.
Options parse_options(int count, char** words);

/// Returns the help; `program` and `runtime` are names.
std::string help(const std::string& program, const std::string& runtime);

}  // namespace bmc
