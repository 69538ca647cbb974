// What a cell of a recurrent network computes at a time step, as in layers/recurrence.py.
#pragma once

#include <cstring>

#include "functions.h"
#include "settings.h"

namespace chainrule::CHAINRULE_ISA {

enum class Cell { simple_rnn, relu_rnn, lstm, gru };  // of the simple ones the first takes tanh

INLINE Cell cell_of(const char* name) {
    if (!std::strcmp(name, "lstm")) return Cell::lstm;
    if (!std::strcmp(name, "gru")) return Cell::gru;
    if (!std::strcmp(name, "relu_rnn")) return Cell::relu_rnn;
    require(!std::strcmp(name, "simple_rnn"), "there is no such cell");
    return Cell::simple_rnn;
}
INLINE bool is_simple(Cell cell) { return cell == Cell::simple_rnn || cell == Cell::relu_rnn; }
INLINE long gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }

// A state before and after a step, which may be the same memory.
template <class T> struct States {
    const T* before = nullptr;
    T* after = nullptr;
};

// One step of a sample. z has the weighted sums of all gates, each of u numbers, and becomes the gates; of a
// GRU, `state` has the sums of the state, of which those of the candidate go to `kept`, unless that is null.
// `mask` is that of the recurrent dropout, or null; a simple cell's state is dropped before the step.
template <class T>
INLINE void take_step(Cell cell, long u, T* z, const T* state, T* kept, States<T> h, States<T> c,
                      const T* mask = nullptr) {
    typedef Vec<T> V;
    const bool relu = cell == Cell::relu_rnn;
    if (is_simple(cell))
        over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
            const V sum = get(z + j), a = relu ? (T(0) > sum ? V{} : sum) : tanh_of<T>(sum);
            put(z + j, a);
            put(h.after + j, a);
        });
    if (cell == Cell::lstm)
        over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
            const V i = sigmoid_of<T>(get(z + j)), f = sigmoid_of<T>(get(z + u + j));
            const V g = tanh_of<T>(get(z + 2 * u + j)), o = sigmoid_of<T>(get(z + 3 * u + j));
            const V written = mask ? g * get(mask + j) : g;
            // In this order, so that every file that includes this fuses the same product with the sum.
            const V remembered = f * get(c.before + j), added = i * written, now = remembered + added;
            put(z + j, i);
            put(z + u + j, f);
            put(z + 2 * u + j, g);
            put(z + 3 * u + j, o);
            put(c.after + j, now);
            put(h.after + j, o * tanh_of<T>(now));
        });
    if (cell == Cell::gru)
        over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
            const V r = sigmoid_of<T>(get(z + j) + get(state + j)), from = get(state + 2 * u + j);
            const V keep = sigmoid_of<T>(get(z + u + j) + get(state + u + j));
            const V n = tanh_of<T>(get(z + 2 * u + j) + r * from), old = get(h.before + j);
            const V written = mask ? n * get(mask + j) : n;
            if (kept) put(kept + j, from);
            put(z + j, r);
            put(z + u + j, keep);
            put(z + 2 * u + j, n);
            put(h.after + j, written + keep * (old - written));
        });
}

}  // namespace chainrule::CHAINRULE_ISA
