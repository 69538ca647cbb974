// Settings and records as the engine stores them.
#pragma once

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "operation.h"

namespace chainrule {

// A number, a text or a list. A whole number of 64 bits is stored as one, too.
struct Setting {
    double number = 0;
    bool is_number = false, is_text = false;
    std::string text;
    std::vector<int64_t> whole_numbers;
    std::vector<double> numbers;
};
using SettingsByName = std::map<std::string, Setting>;

// Settings (or a Record, which are more) with what Python has given.
template <class Base> struct Stored : Base {
    std::string kind;
    SettingsByName settings;
    std::function<double(long)> schedule;
    Stored(std::string kind, SettingsByName settings) : kind(std::move(kind)), settings(std::move(settings)) {}

    bool has(const char* name) const override { return settings.count(name) > 0; }
    double number(const char* name) const override {
        const Setting& setting = at(name);
        if (!setting.is_number) fail(std::string("needs a number as ") + name);
        return setting.number;
    }
    bool flag(const char* name) const override { return number(name) != 0; }
    const char* text(const char* name) const override {
        const Setting& setting = at(name);
        if (!setting.is_text) fail(std::string("needs a text as ") + name);
        return setting.text.c_str();
    }
    List<int64_t> whole_numbers(const char* name) const override {
        const auto& list = at(name).whole_numbers;
        return {list.data(), long(list.size())};
    }
    List<double> numbers(const char* name) const override {
        const auto& list = at(name).numbers;
        return {list.data(), long(list.size())};
    }
    double rate(long updates) const override {
        if (!schedule) fail("has no schedule");
        return schedule(updates);
    }

  protected:
    [[noreturn]] void fail(const std::string& message) const { throw std::invalid_argument(kind + " " + message); }
    const Setting& at(const char* name) const {
        const auto found = settings.find(name);
        if (found == settings.end()) fail(std::string("lacks the setting ") + name);
        return found->second;
    }
};

}  // namespace chainrule
