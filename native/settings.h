// What Python says of an operation, a loss or a stage: settings by name.
#pragma once

#include <cstdint>

namespace chainrule {

template <class N> struct List {
    const N* data;
    long count;
};

// Each of these throws std::invalid_argument if there is no such setting. What they return lives as
// long as the engine.
struct Settings {
    virtual ~Settings();
    virtual bool has(const char* name) const = 0;
    virtual double number(const char* name) const = 0;
    virtual bool flag(const char* name) const = 0;
    virtual const char* text(const char* name) const = 0;
    virtual List<int64_t> whole_numbers(const char* name) const = 0;
    virtual List<double> numbers(const char* name) const = 0;
    // The learning rate after this many updates, by the schedule of the settings.
    virtual double rate(long updates) const = 0;
};

// Throws std::invalid_argument unless the condition holds.
void require(bool condition, const char* message);

}  // namespace chainrule
