// The cell of scan.cpp for texts that are continued (see texts.h): each sample is one new position,
// and the state after the last one is kept from one pass to the next.
//
// Settings: cell: "simple_rnn" (with tanh), "lstm" or "gru"; texts: how many there are.
#include "../cells.h"
#include "../operation.h"
#include "../product.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct ContinuedScan : Operation<T> {
    const Value<T>&x, &y;
    Cell cell;
    long texts, units, width;  // width: of the sums, those of all gates
    long U, b;                 // b < 0: the state's sums have no bias
    T *h, *c;                  // of each text
    explicit ContinuedScan(const Record<T>& r)
        : x(r.input()), y(r.output()), cell(cell_of(r.text("cell"))), texts(long(r.number("texts"))), units(y.width),
          width(x.width), U(r.parameter("U", units * width)), b(r.has_parameter("b") ? r.parameter("b", width) : -1) {
        require(width == gates_of(cell) * units && x.rows == 1 && y.rows == 1, "the sums are those of the cell's gates");
        require(texts > 0 && r.inputs() == 1, "texts have positions, all of which are valid");
        require((cell == Cell::gru) == (b >= 0), "a GRU's state has biases of its own");
        h = r.memory(texts * units);
        c = r.memory(texts * units);
    }

    // The sums of a GRU's state.
    long scratch() const override { return texts * width + MAX_LANES; }

    void forward(const Pass<T>& p) override {
        const long count = p.samples / texts;
        if (p.samples % texts) return p.report_invalid();
        const Range own = p.share(texts, 1);
        if (!own.count()) return;
        for (T* const state : {h, c})
            if (p.step == 0) std::memset(state + own.from * units, 0, size_t(own.count() * units) * sizeof(T));
        for (long k = 0; k < count; ++k) {
            add_state(p, own, count, k);
            for (long text = own.from; text < own.to; ++text) {
                T *const now = h + text * units, *const memory = c + text * units;
                take_step<T>(cell, units, x.value + (text * count + k) * x.ld, p.scratch + (text - own.from) * width,
                             nullptr, {now, now}, {memory, memory});
                std::memcpy(y.value + (text * count + k) * y.ld, now, size_t(units) * sizeof(T));
            }
        }
    }

  private:
    // Adds h U to the sums of the k-th of the new positions, or computes it on its own with the biases.
    void add_state(const Pass<T>& p, Range own, long count, long k) const {
        Product<T> work{own.count(), width, units, h + own.from * units, units, 1, p.w + U, width, 1,
                        x.value + (own.from * count + k) * x.ld, count * x.ld};
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
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(continued_scan, ContinuedScan)
