// Optimizer stages: their hyperparameters, and the constants that their kernels need in a step.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <vector>

#include "kernels.h"
#include "schedules.h"

namespace chainrule {

// The last group needs whole arrays, or the whole gradient.
enum class Rule : int {
    rate, plateau, decay, clip_value, accumulate, average, momentum, nesterov, adagrad, adadelta, rms, rprop,
    adam, amsgrad, nadam, radam, adamax, lion, muon,
    clip_norm, clip_global_norm, trust_ratio, orthogonalize, lbfgs, line_search
};

// How many hyperparameters a stage takes and which state it must be lent. Vectors have one number
// for each parameter; L-BFGS's first two have that many for each step that it remembers.
struct Needs {
    int numbers, vectors;
    bool count, scale;
};

inline Needs needs_of(Rule rule) {
    switch (rule) {
        case Rule::rate: return {0, 0, true, false};
        case Rule::plateau: return {0, 0, false, true};
        case Rule::accumulate:
        case Rule::average: return {1, 1, true, false};
        case Rule::momentum:
        case Rule::nesterov:
        case Rule::adagrad: return {1, 1, false, false};
        case Rule::adadelta: return {2, 2, false, false};
        case Rule::rms: return {2, 1, false, false};
        case Rule::rprop: return {4, 2, false, false};
        case Rule::adam:
        case Rule::nadam:
        case Rule::radam:
        case Rule::adamax: return {3, 2, true, false};
        case Rule::amsgrad: return {3, 3, true, false};
        case Rule::lion: return {2, 1, false, false};
        case Rule::muon: return {1, 1, true, false};
        case Rule::trust_ratio: return {0, 0, false, false};
        case Rule::orthogonalize: return {2, 0, false, false};
        case Rule::lbfgs: return {1, 4, true, false};
        case Rule::line_search: return {3, 0, false, false};
        case Rule::decay:
        case Rule::clip_value:
        case Rule::clip_norm:
        case Rule::clip_global_norm: break;
    }
    return {1, 0, false, false};
}

template <class T> struct DescentStage {
    Rule rule;
    std::vector<double> n;  // hyperparameters, in the order of the Python class's fields
    std::vector<char> on;   // whether it applies to each array; empty: to all
    Schedule schedule;
    // Its state, lent for a run.
    T* state[4] = {};
    int64_t* count = nullptr;
    double* scale = nullptr;

    bool needs_whole_arrays() const { return rule >= Rule::clip_norm; }
    bool applies(size_t array) const { return on.empty() || on[array]; }
};

// base^t for 0 <= base < 1; returns 0 without computing it, which is slow, once it is below
// float64's epsilon.
inline double power(double base, double t) {
    if (t * (1 - base) > 40) return 0;  // base^t < exp(-40)
    return std::pow(base, t);
}

// RAdam's variance rectification (Liu et al., 2020); -1 while the variance estimate is not yet
// tractable.
inline double rectifier(double beta2, double t) {
    const double longest = 2 / (1 - beta2) - 1, faded = std::pow(beta2, t);
    const double length = longest - 2 * t * faded / (1 - faded);
    if (length < 5) return -1;
    return std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
}

// The constants that a stage's kernel needs in this step.
template <class T> StageWork<T> step_constants(const DescentStage<T>& s) {
    StageWork<T> w;
    const auto& n = s.n;
    const double t = s.count ? double(*s.count + 1) : 0;
    const auto set = [&w](StageKind kind, std::initializer_list<double> values) {
        w.kind = kind;
        int k = 0;
        for (double value : values) w.n[k++] = T(value);
    };
    switch (s.rule) {
        case Rule::rate: set(StageKind::scale, {s.schedule(long(*s.count))}); break;
        case Rule::plateau: set(StageKind::scale, {*s.scale}); break;
        case Rule::decay: set(StageKind::decay, {n[0]}); break;
        case Rule::clip_value: set(StageKind::clip_value, {n[0]}); break;
        case Rule::accumulate: set(StageKind::accumulate, {n[0], t < n[0] ? 0.0 : 1.0}); break;
        case Rule::average: set(StageKind::average, {std::min(n[0], t / (9 + t))}); break;
        case Rule::momentum: set(StageKind::momentum, {n[0]}); break;
        case Rule::nesterov: set(StageKind::nesterov, {n[0]}); break;
        case Rule::adagrad: set(StageKind::adagrad, {n[0]}); break;
        case Rule::adadelta: set(StageKind::adadelta, {n[0], 1 - n[0], n[1]}); break;
        case Rule::rms: set(StageKind::rms, {n[0], 1 - n[0], n[1]}); break;
        case Rule::rprop: set(StageKind::rprop, {n[0], n[1], n[2], n[3]}); break;
        case Rule::adamax:
            set(StageKind::adamax, {n[0], 1 - n[0], n[1], 0, 1 / (1 - std::pow(n[0], t)), 0, n[2]});
            break;
        case Rule::muon:
            set(StageKind::muon, {n[0], 1 - n[0], 1 - std::pow(n[0], t + 1), 1 - std::pow(n[0], t)});
            break;
        case Rule::lion: set(StageKind::lion, {n[0], 1 - n[0], n[1], 1 - n[1]}); break;
        case Rule::adam:
        case Rule::amsgrad:
        case Rule::nadam:
        case Rule::radam: {
            const double to_m = 1 / (1 - power(n[0], t)), to_v = 1 / (1 - power(n[1], t));
            set(s.rule == Rule::amsgrad ? StageKind::amsgrad : StageKind::adam,
                {n[0], 1 - n[0], n[1], 1 - n[1], to_m, to_v, n[2], 0});
            if (s.rule == Rule::nadam) {
                w.kind = StageKind::nadam;
                w.n[4] = T(n[0] / (1 - std::pow(n[0], t + 1)));
                w.n[7] = T((1 - n[0]) / (1 - power(n[0], t)));
            } else if (s.rule == Rule::radam) {
                const double trust = rectifier(n[1], t);
                if (trust < 0) w.kind = StageKind::radam_early;
                else w.n[4] = T(trust * to_m);
            }
            break;
        }
        default: break;
    }
    return w;
}

}  // namespace chainrule
