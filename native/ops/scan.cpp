// A cell applied at every time step, as in layers/recurrence.py. Its input has the weighted sums of the
// inputs of all steps; here the state's are added, step by step, and the cell's functions applied. Each
// thread takes its own samples through all steps, without waiting for the others.
//
// Settings: cell: see cells.h; all: whether the output has a row for each step, or is the last state;
// reversed: whether the last step comes first; and, with recurrent dropout, those of dropout, with a key
// for each step. A second input has the number of valid steps of each sample: beyond it the state stays
// as it is.
#include "../cells.h"
#include "../copies.h"
#include "../masks.h"
#include "../operation.h"
#include "../product.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Scan : Operation<T> {
    typedef Vec<T> V;
    const Record<T>& record;
    const Value<T>&x, &y;  // x: activated gates, after the forward pass
    Cell cell;
    bool all, reversed, drops;
    long steps, units, width;  // width: of the sums, those of all gates
    long U, b;                 // b < 0: the state's sums have no bias
    // Of each sample: the states before each step and after the last one, h and, of an LSTM, c; of a GRU
    // the state's sums of the candidate, and the derivatives by its own sums.
    T *h, *c, *candidate, *derived;
    // Of recurrent dropout: the masks of each step's units; of a SimpleRNN the states that U multiplies.
    T *mask, *dropped;
    explicit Scan(const Record<T>& r)
        : record(r), x(r.input()), y(r.output()), cell(cell_of(r.text("cell"))), all(r.flag("all")),
          reversed(r.flag("reversed")), drops(r.has("threshold")), steps(x.rows), units(y.width), width(x.width),
          U(r.parameter("U", units * width)), b(r.has_parameter("b") ? r.parameter("b", width) : -1) {
        require(width == gates_of(cell) * units && y.rows == (all ? steps : 1), "the sums are those of the cell's gates");
        require((cell == Cell::gru) == (b >= 0), "a GRU's state has biases of its own");
        require(r.inputs() == 1 || (r.inputs() == 2 && r.input(1).rows == 1 && r.input(1).width == 1),
                "lengths are one number for each sample");
        const long states = r.max_samples() * (steps + 1) * units;
        h = r.memory(states);
        c = cell == Cell::lstm ? r.memory(states) : nullptr;
        candidate = cell == Cell::gru ? r.memory(r.max_samples() * steps * units) : nullptr;
        derived = cell == Cell::gru ? r.memory(r.max_samples() * steps * width) : nullptr;
        mask = drops ? r.memory(r.max_samples() * steps * units) : nullptr;
        dropped = drops && is_simple(cell) ? r.memory(r.max_samples() * steps * units) : nullptr;
        for (long k = 0; drops && k < steps; ++k) Masks<T>(r, k);  // each step has a key
    }

    // The sums of a step of a GRU's state; backward U transposed, and derivatives by h and c.
    long scratch() const override {
        const long samples = record.max_samples();
        return units * width + samples * (width + 2 * units) + 4 * MAX_LANES;
    }

    void forward(const Pass<T>& p) override {
        const Range own = p.share(p.samples, 1);
        if (!own.count()) return;
        for (long s = own.from; s < own.to; ++s) {
            std::memset(h_at(s, first()), 0, size_t(units) * sizeof(T));
            if (c) std::memset(c_at(s, first()), 0, size_t(units) * sizeof(T));
        }
        for (long k = 0; k < steps; ++k) {
            const long t = step(k);
            if (drops) write_masks(p, own, k);
            add_state(p, own, t);
            for (long s = own.from; s < own.to; ++s) {
                if (t >= length(s)) {
                    std::memcpy(h_at(s, after(t)), h_at(s, before(t)), size_t(units) * sizeof(T));
                    if (c) std::memcpy(c_at(s, after(t)), c_at(s, before(t)), size_t(units) * sizeof(T));
                } else apply(p, s, t);
                if (all) std::memcpy(y_at(y.value, s, t), h_at(s, after(t)), size_t(units) * sizeof(T));
            }
        }
        const long end = after(step(steps - 1));
        for (long s = own.from; s < own.to && !all; ++s)
            std::memcpy(y_at(y.value, s, 0), h_at(s, end), size_t(units) * sizeof(T));
    }

    void derive_inputs(const Pass<T>& p) {
        const Range own = p.share(p.samples, 1);
        if (own.count()) derive_sums(p, own);
    }
    void backward(const Pass<T>& p) override {
        derive_inputs(p);
        p.wait();
        derive_parameters(p);
    }
    void derive_parameters(const Pass<T>& p) {
        // Divided by columns of U: each thread goes through all samples in order.
        const Range columns = p.share(width, 2 * WIDTH<T>);
        for (long s = 0; s < p.samples && columns.count(); ++s) {
            Product<T> work{units, columns.count(), steps, dropped ? dropped + s * steps * units : h_at(s, reversed ? 1 : 0), 1, units, sums(s, 0) + columns.from,
                            sums_ld(), 1, p.g + U + columns.from, width};
            work.whole = false;
            work.accumulate = s > 0;
            work.pack = p.pack;
            if (b >= 0) work.sums = p.g + b + columns.from;
            product(work);
        }
    }

    // `backward` computes the derivatives by the sums.
    bool knows_samples() const override { return true; }
    bool knows_samples_after() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_b = b >= 0 && b <= at && at < b + width;
        const long in = (at - U) / width, out = of_b ? at - b : (at - U) % width;
        for (long s = 0; s < p.samples; ++s)
            for (long t = 0; t < steps; ++t) {
                const double ds = sums(s, t)[out];
                const T* const state = dropped ? dropped + (s * steps + t) * units : h_at(s, before(t));
                to[s] += of_b ? ds : ds * state[in];
            }
    }

  private:
    // The k-th step that is taken; states are stored in the order of time: before and after it.
    INLINE long step(long k) const { return reversed ? steps - 1 - k : k; }
    INLINE long before(long t) const { return reversed ? t + 1 : t; }
    INLINE long after(long t) const { return reversed ? t : t + 1; }
    INLINE long first() const { return before(step(0)); }
    INLINE T* h_at(long s, long k) const { return h + (s * (steps + 1) + k) * units; }
    INLINE T* c_at(long s, long k) const { return c + (s * (steps + 1) + k) * units; }
    INLINE T* mask_at(long s, long t) const { return mask ? mask + (s * steps + t) * units : nullptr; }
    INLINE T* x_at(T* data, long s, long t) const { return data + (s * steps + t) * x.ld; }
    INLINE T* y_at(T* data, long s, long t) const { return data + (s * y.rows + t) * y.ld; }
    long length(long s) const {
        if (record.inputs() == 1) return steps;
        const T given = record.input(1).value[s * record.input(1).ld];
        return given >= T(steps) ? steps : given > 0 ? long(std::ceil(given)) : 0;
    }
    // The derivatives by the state's sums.
    T* sums(long s, long t) const { return derived ? derived + (s * steps + t) * width : x_at(x.gradient, s, t); }
    long sums_ld() const { return derived ? width : x.ld; }

    // The masks of the k-th step that is taken, all 1 outside of training.
    void write_masks(const Pass<T>& p, Range own, long k) const {
        const long t = step(k);
        const Masks<T> masks = p.training ? Masks<T>(record, k) : Masks<T>();
        for (long s = own.from; s < own.to; ++s) {
            masks.write(p.step, (p.first + s) * units, units, mask_at(s, t));
            if (dropped) multiply(units, h_at(s, before(t)), mask_at(s, t), dropped + (s * steps + t) * units);
        }
    }
    // Adds h U to the sums of a step, or computes it on its own with the biases.
    void add_state(const Pass<T>& p, Range own, long t) const {
        Product<T> work{own.count(), width, units, h_at(own.from, before(t)), (steps + 1) * units, 1, p.w + U, width, 1,
                        x_at(x.value, own.from, t), steps * x.ld};
        if (dropped) {
            work.a = dropped + (own.from * steps + t) * units;
            work.a_row = steps * units;
        }
        work.accumulate = true;
        if (cell == Cell::gru) {
            work.accumulate = false;
            work.bias = p.w + b;
            work.c = p.scratch;
            work.c_row = width;
        }
        work.whole = false;
        work.pack = p.pack;
        product(work);
    }

    void apply(const Pass<T>& p, long s, long t) const {
        const T* const state = cell == Cell::gru ? p.scratch + (s - p.share(p.samples, 1).from) * width : nullptr;
        T* const kept = candidate ? candidate + (s * steps + t) * units : nullptr;
        take_step(cell, units, x_at(x.value, s, t), state, kept, States<T>{h_at(s, before(t)), h_at(s, after(t))},
                  c ? States<T>{c_at(s, before(t)), c_at(s, after(t))} : States<T>{}, mask_at(s, t));
    }

    // The derivatives by the sums of own samples, from the last step to the first.
    void derive_sums(const Pass<T>& p, Range own) const {
        T *const transposed = p.scratch, *const dh = transposed + units * width, *const dc = dh + own.count() * units;
        for (long i = 0; i < units; ++i)
            for (long j = 0; j < width; ++j) transposed[j * units + i] = p.w[U + i * width + j];
        std::memset(dh, 0, size_t(2 * own.count() * units) * sizeof(T));
        for (long s = own.from; s < own.to && !all; ++s)
            std::memcpy(dh + (s - own.from) * units, y_at(y.gradient, s, 0), size_t(units) * sizeof(T));
        for (long k = steps; k-- > 0;) {
            const long t = step(k);
            for (long s = own.from; s < own.to; ++s) {
                T *const by_h = dh + (s - own.from) * units, *const by_c = dc + (s - own.from) * units;
                if (all) {
                    const T* const dy = y_at(y.gradient, s, t);
                    over<T>(units, [=](long j, auto get, auto put) { put(by_h + j, get(by_h + j) + get(dy + j)); });
                }
                if (t < length(s)) derive(s, t, by_h, by_c);
                else {
                    std::memset(x_at(x.gradient, s, t), 0, size_t(width) * sizeof(T));
                    std::memset(sums(s, t), 0, size_t(width) * sizeof(T));
                }
            }
            // What reaches the state before through U is added to what reaches it directly.
            Product<T> work{own.count(), units, width, sums(own.from, t), steps * sums_ld(), 1, transposed, units, 1, dh, units};
            work.accumulate = true;
            work.whole = false;
            work.pack = p.pack;
            product(work);
            // A SimpleRNN's state reaches nothing else.
            for (long s = own.from; dropped && s < own.to; ++s)
                if (t < length(s)) multiply(units, dh + (s - own.from) * units, mask_at(s, t), dh + (s - own.from) * units);
        }
    }

    // One step of a sample: from the derivatives by the states after it those by its sums, and those by
    // the states before it, as far as they don't come through U.
    void derive(long s, long t, T* dh, T* dc) const {
        const long u = units;
        const T *const z = x_at(x.value, s, t), *const old = h_at(s, before(t));
        T *const dx = x_at(x.gradient, s, t), *const ds = sums(s, t);
        const T* const kept_units = mask_at(s, t);
        if (is_simple(cell)) {
            const bool relu = cell == Cell::relu_rnn;
            over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
                const V a = get(z + j), by = get(dh + j);
                put(dx + j, relu ? (a > T(0) ? by : V{}) : by * (1 - a * a));
                put(dh + j, V{});
            });
        }
        if (cell == Cell::lstm) {
            const T *const old_c = c_at(s, before(t)), *const now_c = c_at(s, after(t));
            over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
                const V i = get(z + j), f = get(z + u + j), g = get(z + 2 * u + j), o = get(z + 3 * u + j);
                const V shown = tanh_of<T>(get(now_c + j)), by_h = get(dh + j);
                const V by_c = get(dc + j) + by_h * o * (1 - shown * shown);
                const V by_g = kept_units ? by_c * i * get(kept_units + j) : by_c * i;
                put(dx + j, by_c * (kept_units ? g * get(kept_units + j) : g) * i * (1 - i));
                put(dx + u + j, by_c * get(old_c + j) * f * (1 - f));
                put(dx + 2 * u + j, by_g * (1 - g * g));
                put(dx + 3 * u + j, by_h * shown * o * (1 - o));
                put(dc + j, by_c * f);
                put(dh + j, V{});
            });
        }
        if (cell == Cell::gru) {
            const T* const from = candidate + (s * steps + t) * u;
            over<T>(u, [=](long j, auto get, auto put) INLINE_LAMBDA {
                const V r = get(z + j), keep = get(z + u + j), n = get(z + 2 * u + j), by_h = get(dh + j);
                const V on = kept_units ? get(kept_units + j) : broadcast(T(1));
                const V by_n = by_h * (1 - keep) * on * (1 - n * n), by_r = by_n * get(from + j) * r * (1 - r);
                const V by_keep = by_h * (get(old + j) - n * on) * keep * (1 - keep);
                put(dx + j, by_r);
                put(dx + u + j, by_keep);
                put(dx + 2 * u + j, by_n);
                put(ds + j, by_r);
                put(ds + u + j, by_keep);
                put(ds + 2 * u + j, by_n * r);
                put(dh + j, by_h * keep);
            });
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(scan, Scan)
