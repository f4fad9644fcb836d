// Inline assembly for a GPU means nothing to g++. Each `asm volatile("mma.sync ..." : outputs : inputs);` becomes
// a call of a function that ptx.h defines, with the operands in their order.
#include <cctype>

#include "runtime.h"

namespace {

// Past a string literal that starts here.
size_t past_string(const std::string &text, size_t at) {
    for (at++; at < text.size() && text[at] != '"'; at++)
        if (text[at] == '\\') at++;
    return at + 1;
}

// Past the parenthesis that closes the one here.
size_t past_parenthesis(const std::string &text, size_t at) {
    int depth = 0;
    while (at < text.size()) {
        if (text[at] == '"') {
            at = past_string(text, at);
            continue;
        }
        depth += (text[at] == '(') - (text[at] == ')');
        at++;
        if (depth == 0) break;
    }
    return at;
}

// What the literals that follow each other here say; moves past them.
std::string literals(const std::string &text, size_t &at) {
    std::string result;
    for (;;) {
        while (at < text.size() && isspace((unsigned char)text[at])) at++;
        if (at >= text.size() || text[at] != '"') return result;
        const size_t end = past_string(text, at);
        for (size_t i = at + 1; i + 1 < end; i++) {
            // An escaped line end separates as a space does.
            if (text[i] == '\\') {
                result += ' ';
                i++;
            } else {
                result += text[i];
            }
        }
        at = end;
    }
}

// The first instruction, without declarations of registers: "mma.sync.aligned.m16n8k8...".
std::string instruction(const std::string &assembly) {
    std::string statement;
    for (const char c : assembly + ";") {
        if (c == '{' && statement.find_first_not_of(' ') == std::string::npos) continue;
        if (c != ';') {
            statement += c;
            continue;
        }
        const size_t start = statement.find_first_not_of(' ');
        if (start != std::string::npos && statement[start] != '.')
            return statement.substr(start, statement.find(' ', start) - start);
        statement.clear();
    }
    return assembly;
}

// The expressions of `: "=f"(d0), "r"(a0)`, separated by commas.
std::string operands(const std::string &text, size_t at, size_t end) {
    std::string result;
    while (at < end) {
        if (text[at] == '"') {
            at = past_string(text, at);
            while (at < end && isspace((unsigned char)text[at])) at++;
            // A literal without parentheses names what else changes.
            if (at >= end || text[at] != '(') continue;
            const size_t close = past_parenthesis(text, at);
            if (!result.empty()) result += ", ";
            result += text.substr(at, close - at);
            at = close;
        } else {
            at++;
        }
    }
    return result;
}

bool is_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

}  // namespace

std::string without_assembly(const std::string &source, const std::string &known) {
    std::string result;
    size_t done = 0;
    for (;;) {
        const size_t found = source.find("asm", done);
        if (found == std::string::npos) break;
        size_t at = found + 3;
        const bool word = (found == 0 || !is_name(source[found - 1])) && !is_name(source[at]);
        while (word && isspace((unsigned char)source[at])) at++;
        if (word && source.compare(at, 8, "volatile") == 0) at += 8;
        while (word && isspace((unsigned char)source[at])) at++;
        result += source.substr(done, found - done);
        if (!word || source[at] != '(') {
            result += source.substr(found, 3);
            done = found + 3;
            continue;
        }
        const size_t end = past_parenthesis(source, at) - 1;
        at++;
        const std::string name = instruction(literals(source, at));
        std::string function = "ptx_";
        for (const char c : name) function += is_name(c) ? c : '_';
        if (known.find(function) != std::string::npos)
            result += function + "(" + operands(source, at, end) + ")";
        else
            result += "emulate_unknown_instruction(\"" + name + "\")";
        done = end + 1;
    }
    return result + source.substr(done);
}
