// Learning-rate schedules: the rate as a function of the number of updates so far, as in
// descent/schedules.py.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "record.h"

namespace chainrule {

using Rates = std::function<double(long)>;

// The rates from a first update on, which Python computes before each run, where there is no
// schedule of that name here.
struct Table {
    long first = 0;
    std::vector<double> rates{0.0};

    double operator()(long count) const {
        const long index = count - first;
        const size_t place = size_t(index < 0 ? 0 : index);
        return rates[place < rates.size() ? place : rates.size() - 1];
    }
};

inline double along_cosine(double begin, double end, double share) {
    return end + (begin - end) * (1 + std::cos(3.14159265358979323846 * share)) / 2;
}

// The schedule of this name; `then` follows a warm-up. Throws std::invalid_argument for unknown
// names and missing settings.
inline Rates make_schedule(const Stored<Settings>& s, const Rates& then) {
    const std::string& name = s.kind;
    if (name == "warm_up") {
        require(bool(then), "a warm-up needs a schedule to follow it");
        return [then, warmup = long(s.number("warmup"))](long count) {
            return count < warmup ? then(0) * double(count + 1) / double(warmup + 1) : then(count - warmup);
        };
    }
    const double rate = s.number("rate");
    if (name == "constant") return [rate](long) { return rate; };
    if (name == "step") {
        const long every = long(s.number("every"));
        require(every >= 1, "a step schedule needs steps of at least one update");
        return [rate, every, factor = s.number("factor")](long count) {
            return rate * std::pow(factor, double(count / every));
        };
    }
    const double steps = s.number("steps");
    if (name == "exponential")
        return [rate, steps, factor = s.number("factor")](long count) {
            return rate * std::pow(factor, double(count) / steps);
        };
    if (name == "cosine")
        return [rate, steps, end = s.number("end"), restarts = s.flag("restarts"),
                stretch = s.number("stretch")](long count) {
            double length = steps, position = double(count);
            while (restarts && position >= length) {
                position -= length;
                length *= stretch;
            }
            if (position > length) position = length;
            return rate * (end + (1 - end) * (1 + std::cos(3.14159265358979323846 * (position / length))) / 2);
        };
    if (name == "polynomial")
        return [rate, steps, power = s.number("power"), end = s.number("end")](long count) {
            const double share = double(count) / steps < 1 ? double(count) / steps : 1;
            return rate * (end + (1 - end) * std::pow(1 - share, power));
        };
    if (name == "one_cycle")
        return [rate, steps, rise = s.number("rise"), start = s.number("start"),
                finish = s.number("finish")](long count) {
            const double last_step = steps - 1 > 1 ? steps - 1 : 1;
            const double share = count / last_step < 1 ? count / last_step : 1;
            const double first = rate / start, last = rate / start / finish;
            if (share < rise) return along_cosine(first, rate, share / rise);
            return along_cosine(rate, last, (share - rise) / (1 - rise));
        };
    throw std::invalid_argument("there is no schedule " + name);
}

}  // namespace chainrule
