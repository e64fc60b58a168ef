#include "options.hpp"

#include <charconv>

#include "error.hpp"

namespace bmc {
namespace {

constexpr int kMaxThreads = 1024, kMaxCalls = 1'000'000;

int number(const std::string& option, const std::string& text, int least, int largest) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || value < least || value > largest) {
    throw Error(option + " is " + in_quotes(text) + "; it must be a whole number in " +
                std::to_string(least) + ".." + std::to_string(largest));
  }
  return value;
}

}  // namespace

Options parse_options(int count, char** words) {
  Options options;
  std::vector<std::string> positions;
  const std::vector<std::string> arguments(words + 1, words + count);
  bool has_options = true;  // until --
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    auto value = [&]() -> const std::string& {
      if (i + 1 == arguments.size()) throw Error(word + " needs a value");
      return arguments[++i];
    };
    if (!has_options || word.compare(0, 2, "--") != 0) {
      positions.push_back(word);
    } else if (word == "--") {
      has_options = false;
    } else if (word == "--help") {
      options.helps = true;
    } else if (word == "--json") {
      options.json = true;
    } else if (word == "--tokens") {
      options.tokens = true;
    } else if (word == "--threads") {
      options.threads = number("--threads", value(), 0, kMaxThreads);
    } else if (word == "--calls") {
      options.calls = static_cast<std::size_t>(number("--calls", value(), 1, kMaxCalls));
    } else if (word == "--npy") {
      const std::string& pair = value();
      const std::size_t mark = pair.find('=');
      if (mark == 0 || mark == pair.npos) throw Error("--npy takes NAME=FILE, not " + pair);
      options.arrays[pair.substr(0, mark)] = pair.substr(mark + 1);
    } else {
      throw Error("there is no option " + in_quotes(word) + "; --help lists all");
    }
  }
  if (!positions.empty() && positions[0] == "check") {
    options.checks = true;
    positions.erase(positions.begin());
  }
  if (positions.empty()) {
    if (!options.helps) throw Error("name a bundle; --help says how");
    return options;
  }
  options.bundle = positions[0];
  options.texts.assign(positions.begin() + 1, positions.end());
  if (options.checks && !options.texts.empty()) {
    throw Error("check takes a bundle and no texts; leave out " + in_quotes(options.texts[0]));
  }
  if (!options.arrays.empty() && (!options.texts.empty() || options.checks || options.tokens)) {
    throw Error("--npy replaces texts, and fits neither check nor --tokens");
  }
  return options;
}

std::string help(const std::string& program, const std::string& runtime) {
  return "Classify texts with a bundle of bmc, in " + runtime + ".\n\n"
         "  " + program + " BUNDLE TEXT...           label, probability and text, a line each\n"
         "  " + program + " BUNDLE < FILE            likewise, of a text a line\n"
         "  " + program + " BUNDLE --npy NAME=FILE   of prepared tensors, rows first (.npy)\n"
         "  " + program + " check BUNDLE             compares the golden rows of the bundle\n\n"
         "  --threads N   threads of the runtime; 0 leaves the choice to the runtime (1)\n"
         "  --json        reads JSON texts, or lists of two for pairs, a line each; writes JSON\n"
         "  --tokens      writes the ids of the tokens instead of a prediction\n"
         "  --calls N     calls that a check times (300)\n"
         "  --            what follows is not an option\n\n"
         "A pair of texts is two arguments, or a line with a tab between the texts.\n"
         "Exit code: 0; 1: the check failed; 2: a bundle, text or option cannot be used.\n";
}

}  // namespace bmc
