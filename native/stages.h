// Elementwise optimizer stages, as in descent/stages.py and descent/adaptive.py: the same
// operations in the same order, without fused multiply-adds, so that the results are the same bit
// for bit. The constants n of each are listed beside it; rules.h sets them.
#pragma once

#include "functions.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

// The moment estimates of the Adam family. n: beta1, 1 - beta1, beta2, 1 - beta2, the bias
// corrections of m and of v, epsilon, and Nadam's factor of g.
template <class T, class Step, class Emit>
INLINE void moments(const StageWork<T>& s, long count, const T* in, Step step, Emit emit) {
    T *m = s.state[0], *v = s.state[1];
    const T beta1 = s.n[0], rest1 = s.n[1], beta2 = s.n[2], rest2 = s.n[3];
    over<T>(count, [=](long k, auto get, auto put) {
        const Vec<T> g = get(in + k);
        const Vec<T> m_now = get(m + k) * beta1 + g * rest1, v_now = get(v + k) * beta2 + g * g * rest2;
        put(m + k, m_now);
        put(v + k, v_now);
        emit(k, step(k, g, m_now, v_now, get, put), get, put);
    });
}

// Applies one stage; emit(k, result, get, put) consumes the result at index k.
template <class T, class Emit>
INLINE void run_stage(const StageWork<T>& s, long count, const T* in, const T* w, Emit emit) {
    typedef Vec<T> V;
    const T a = s.n[0], b = s.n[1], c = s.n[2], d = s.n[3], to_m = s.n[4], to_v = s.n[5], epsilon = s.n[6],
            to_g = s.n[7];
    T *first = s.state[0], *second = s.state[1], *third = s.state[2];
    const V zero = {};
    switch (s.kind) {
        case StageKind::penalty:  // l1, l2
            return over<T>(count, [=](long k, auto get, auto put) {
                const V here = get(w + k);
                emit(k, get(in + k) + (sign_of(here) * a + here * b), get, put);
            });
        case StageKind::scale:  // factor
            return over<T>(count, [=](long k, auto get, auto put) { emit(k, get(in + k) * a, get, put); });
        case StageKind::decay:  // strength
            return over<T>(count, [=](long k, auto get, auto put) { emit(k, get(in + k) + get(w + k) * a, get, put); });
        case StageKind::clip_value:  // limit
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k);
                emit(k, g < -a ? broadcast(-a) : (g > a ? broadcast(a) : g), get, put);
            });
        case StageKind::accumulate:  // mini-batches, whether the mean is due in this step
            return over<T>(count, [=](long k, auto get, auto put) {
                const V sum = get(first + k) + get(in + k);
                put(first + k, b != 0 ? zero : sum);
                emit(k, sum / a, get, put);
            });
        case StageKind::average:  // decay
            return over<T>(count, [=](long k, auto get, auto put) {
                const V step = get(in + k);
                put(first + k, get(first + k) * a + (get(w + k) - step) * (1 - a));
                emit(k, step, get, put);
            });
        case StageKind::momentum:  // decay
            return over<T>(count, [=](long k, auto get, auto put) {
                const V v = get(first + k) * a + get(in + k);
                put(first + k, v);
                emit(k, v, get, put);
            });
        case StageKind::nesterov:  // decay
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), v = get(first + k) * a + g;
                put(first + k, v);
                emit(k, g + v * a, get, put);
            });
        case StageKind::adagrad:  // epsilon
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), sum = get(first + k) + g * g;
                put(first + k, sum);
                emit(k, g / sqrt_of(sum + a), get, put);
            });
        case StageKind::adadelta:  // decay, 1 - decay, epsilon
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), v = get(first + k) * a + g * b * g, past = get(second + k);
                const V out = sqrt_of(past + c) / sqrt_of(v + c) * g;
                put(first + k, v);
                put(second + k, past * a + out * b * out);
                emit(k, out, get, put);
            });
        case StageKind::rms:  // decay, 1 - decay, epsilon
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), v = get(first + k) * a + g * b * g;
                put(first + k, v);
                emit(k, g / sqrt_of(v + c), get, put);
            });
        case StageKind::rprop:  // shrink, grow, smallest, largest
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), agreement = sign_of(g) * sign_of(get(second + k)), size = get(first + k);
                const V changed = size * (agreement > zero ? broadcast(b) : broadcast(a));
                const V bounded = changed < c ? broadcast(c) : (changed > d ? broadcast(d) : changed);
                const V next = agreement == zero ? size : bounded, saved = agreement < zero ? zero : g;
                put(first + k, next);
                put(second + k, saved);
                emit(k, next * sign_of(saved), get, put);
            });
        case StageKind::adam:
            return moments(s, count, in, [=](long, V, V m, V v, auto, auto) {
                return m * to_m / (sqrt_of(v * to_v) + epsilon);
            }, emit);
        case StageKind::amsgrad:
            return moments(s, count, in, [=](long k, V, V m, V v, auto get, auto put) {
                const V now = v * to_v, before = get(third + k), largest = now > before ? now : before;
                put(third + k, largest);
                return m * to_m / (sqrt_of(largest) + epsilon);
            }, emit);
        case StageKind::nadam:
            return moments(s, count, in, [=](long, V g, V m, V v, auto, auto) {
                return (m * to_m + g * to_g) / (sqrt_of(v * to_v) + epsilon);
            }, emit);
        case StageKind::radam_early:
            return moments(s, count, in, [=](long, V, V m, V, auto, auto) { return m * to_m; }, emit);
        case StageKind::adamax:  // beta1, 1 - beta1, beta2, -, bias correction of m, -, epsilon
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), m = get(first + k) * a + g * b;
                const V faded = get(second + k) * c, size = abs_of(g) + epsilon, largest = faded > size ? faded : size;
                put(first + k, m);
                put(second + k, largest);
                emit(k, m * to_m / largest, get, put);
            });
        case StageKind::muon:  // decay, 1 - decay, divisors of the two terms of the look-ahead
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), m = get(first + k) * a + g * b;
                put(first + k, m);
                emit(k, m * a / c + g * b / d, get, put);
            });
        case StageKind::lion:  // beta1, 1 - beta1, beta2, 1 - beta2
            return over<T>(count, [=](long k, auto get, auto put) {
                const V g = get(in + k), m = get(first + k);
                emit(k, sign_of<V>(m * a + g * b), get, put);
                put(first + k, m * c + g * d);
            });
    }
}

template <class T> void stage(const StageWork<T>& s, long count, const T* in, T* u, const T* w) {
    run_stage(s, count, in, w, [u](long k, Vec<T> step, auto, auto put) { put(u + k, step); });
}

// Returns 0, or NaN if a new weight is not finite: infinity and NaN times 0 are NaN.
template <class T> T stage_and_subtract(const StageWork<T>& s, long count, T factor, const T* in, T* w) {
    Vec<T> check = {};
    run_stage(s, count, in, w, [&check, factor, w](long k, Vec<T> step, auto get, auto put) {
        const Vec<T> next = get(w + k) - step * factor;
        put(w + k, next);
        check += next * T(0);
    });
    return sum_of<T>(check);
}

// Long sums are accumulated in float64 in eight partial sums, in the same order on every processor.
template <class T, class Of> INLINE double summed(long count, Of of) {
    double sums[8] = {};
    long k = 0;
    for (; k + 8 <= count; k += 8)
        for (int i = 0; i < 8; ++i) sums[i] += of(k + i);
    for (; k < count; ++k) sums[0] += of(k);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

template <class T> double penalty_value(T l1, T l2, long count, const T* w) {
    const double sizes = summed<T>(count, [=](long k) { return std::fabs(double(w[k])); });
    const double squares = summed<T>(count, [=](long k) { return double(w[k]) * double(w[k]); });
    return double(l1) * sizes + double(l2) / 2 * squares;
}

template <class T> double dot(long count, const T* x, const T* y) {
    return summed<T>(count, [=](long k) { return double(x[k]) * double(y[k]); });
}

template <class T> void add_scaled(long count, T factor, const T* x, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(to + k) + get(x + k) * factor); });
}

template <class T> T subtract(long count, T factor, const T* in, T* u, T* w) {
    Vec<T> check = {};
    over<T>(count, [&](long k, auto get, auto put) {
        const Vec<T> step = get(in + k) * factor, next = get(w + k) - step;
        put(u + k, step);
        put(w + k, next);
        check += next * T(0);
    });
    return sum_of<T>(check);
}

template <class T> T take(long count, const T* from, T* to) {
    Vec<T> check = {};
    over<T>(count, [&](long k, auto get, auto put) {
        const Vec<T> here = get(from + k);
        put(to + k, here);
        check += here * T(0);
    });
    return sum_of<T>(check);
}

template <class T> void add_stages(Kernels<T>& table) {
    table.stage = stage<T>;
    table.stage_and_subtract = stage_and_subtract<T>;
    table.penalty_value = penalty_value<T>;
    table.dot = dot<T>;
    table.add_scaled = add_scaled<T>;
    table.take = take<T>;
    table.subtract = subtract<T>;
}

}  // namespace chainrule::CHAINRULE_ISA
