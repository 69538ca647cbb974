// Learning-rate schedules: the rate as a function of the number of updates so far, as in
// descent/schedules.py.
#pragma once

#include <cmath>
#include <memory>
#include <vector>

namespace chainrule {

struct Schedule {
    enum Kind { constant, step, exponential, cosine, polynomial, warm_up, one_cycle, table };
    Kind kind = constant;
    double rate = 0;
    // The other hyperparameters, in the order of the Python class's fields; for a table: its first
    // step and its rates.
    std::vector<double> n;
    std::shared_ptr<Schedule> then;

    // How many of `n` the schedule reads.
    size_t needed() const {
        switch (kind) {
            case constant: return 0;
            case warm_up: return 1;
            case step:
            case exponential:
            case table: return 2;
            case polynomial: return 3;
            default: return 4;
        }
    }

    double operator()(long count) const {
        constexpr double pi = 3.14159265358979323846;
        switch (kind) {
            case constant: return rate;
            case step: return rate * std::pow(n[1], double(count / long(n[0])));  // every, factor
            case exponential: return rate * std::pow(n[0], double(count) / n[1]);  // factor, steps
            case cosine: {  // steps, end, restarts, stretch
                double length = n[0], position = double(count);
                while (n[2] != 0 && position >= length) {
                    position -= length;
                    length *= n[3];
                }
                if (position > length) position = length;
                return rate * (n[1] + (1 - n[1]) * (1 + std::cos(pi * (position / length))) / 2);
            }
            case polynomial: {  // steps, power, end
                const double share = double(count) / n[0] < 1 ? double(count) / n[0] : 1;
                return rate * (n[2] + (1 - n[2]) * std::pow(1 - share, n[1]));
            }
            case warm_up: {  // warmup
                const long warmup = long(n[0]);
                if (count < warmup) return (*then)(0) * double(count + 1) / double(warmup + 1);
                return (*then)(count - warmup);
            }
            case one_cycle: {  // steps, rise, start, finish
                const double last_step = n[0] - 1 > 1 ? n[0] - 1 : 1;
                const double share = count / last_step < 1 ? count / last_step : 1;
                const double first = rate / n[2], last = rate / n[2] / n[3];
                if (share < n[1]) return along_cosine(first, rate, share / n[1]);
                return along_cosine(rate, last, (share - n[1]) / (1 - n[1]));
            }
            case table: {
                const long index = count - long(n[0]);
                const size_t place = size_t(index < 0 ? 0 : index) + 1;
                return n[place < n.size() ? place : n.size() - 1];
            }
        }
        return rate;
    }

  private:
    static double along_cosine(double begin, double end, double share) {
        return end + (begin - end) * (1 + std::cos(3.14159265358979323846 * share)) / 2;
    }
};

}  // namespace chainrule
