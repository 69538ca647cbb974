// Gradient descent: a chain of stages over the flat vectors, in pieces that fit the nearest cache.
//
// A stage that looks at whole arrays (for their norm, or to turn a matrix or all of them into something else) divides the
// chain into passes: it comes between one, which leaves what it made in the gradient's place, and the next. Sums are kept
// for each piece and added in order, whoever computed them.
//
// Without such stages and penalties, any part of an array can be stepped as soon as its gradient is known: what computes
// gradients then asks for `part`, while they are in the nearest cache, and `step` does the rest.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>

#include "kernels.h"
#include "memory.h"
#include "orthogonal.h"
#include "quasi_newton.h"
#include "rules.h"
#include "threads.h"

namespace chainrule {

struct PenaltyOn {
    double l1, l2;
    std::vector<char> on;
};

template <class T> class Descent {
  public:
    std::vector<Range> arrays;
    std::vector<long> columns;  // of each array that is a matrix; 0: it is none
    std::vector<PenaltyOn> penalties;
    std::vector<DescentStage<T>> stages;
    double penalty = 0;  // its value in the last step

    void finish(long size, int threads) {
        pieces_.clear();
        works_.assign(size_t(threads), std::vector<StageWork<T>>(stages.size()));
        shows_ = shows();
        by_parts_ = size > LARGE && penalties.empty() &&
                    std::none_of(stages.begin(), stages.end(), [](auto& s) { return s.looks_at_arrays(); });
        stepped_.assign(arrays.size() + 1, 0);
        sound_.assign(size_t(threads), 0);
        const bool by_array = std::any_of(stages.begin(), stages.end(), [](auto& s) {
            return !s.on.empty() || s.rule == Rule::clip_norm || s.rule == Rule::trust_ratio || s.rule == Rule::orthogonalize;
        }) || !penalties.empty() || size > LARGE;
        std::vector<Range> spans = arrays;
        if (!by_array) spans = {{0, size}};
        for (size_t a = 0; a < spans.size(); ++a)
            for (long from = spans[a].from; from < spans[a].to; from += PIECE)
                pieces_.push_back({from, std::min(PIECE, spans[a].to - from), int(a)});
        // Of each array every thread takes a part in one piece, as it does of the array's gradient.
        pieces_of_.assign(size_t(threads), {});
        for (size_t begin = 0, end = 0; begin < pieces_.size(); begin = end) {
            while (end < pieces_.size() && pieces_[end].array == pieces_[begin].array) ++end;
            for (int t = 0; t < threads; ++t) {
                const Range r = share(long(end - begin), 1, t, threads);
                for (long p = r.from; p < r.to; ++p) pieces_of_[size_t(t)].push_back(long(begin) + p);
            }
        }
        g_squares_.assign(pieces_.size(), 0);
        w_squares_.assign(pieces_.size(), 0);
        penalty_parts_.assign(pieces_.size(), 0);
        make_room(size, threads);
    }

    // The mean loss of the same mini-batch at other weights, without penalties, and its gradient; all threads ask.
    using Elsewhere = std::function<double(const T* w, T* g)>;

    // One step, called by every thread; g is the gradient, which becomes scratch. With `gradient` and `update` the
    // whole gradient (with penalties) and what was subtracted are handed out. `loss` is that here, and like `elsewhere`
    // needed if a stage looks around. False if something is not finite, on the thread that saw it.
    bool step(const Kernels<T>& kernels, T* w, T* g, T* gradient, T* update, int t, Barrier& barrier,
              const double& loss, const Elsewhere& elsewhere) {
        Going going{w, g, gradient || !looks_around_ ? gradient : gradient_.data(), update, t};
        going.sound = sound_[size_t(t)];
        sound_[size_t(t)] = 0;
        while (!going.ended) {
            prepare(going);
            for (const long p : pieces_of_[size_t(t)])
                if (!stepped_[size_t(pieces_[size_t(p)].array)] || going.gradient || !by_parts_)
                    step_piece(kernels, going, p);
            if (going.last || going.ended) break;
            barrier.wait();
            look_at_arrays(kernels, going, barrier, loss, elsewhere);
            barrier.wait();
            going.first = false;
            going.from = going.to + 1;
        }
        const T sound = going.sound;
        barrier.wait();
        if (t == 0) end_step();
        return sound == 0;
    }

    bool looks_around() const { return looks_around_; }

    // Whether arrays may be stepped in parts, and which of them will be: number `array` then is not part of `step`.
    bool by_parts() const { return by_parts_; }
    int array_at(long from) const {
        for (size_t a = 0; a < arrays.size(); ++a)
            if (arrays[a].from == from) return int(a);
        return -1;
    }
    void leave_out(const std::vector<int>& stepped) {
        for (int array : stepped) stepped_[size_t(array)] = 1;
    }

    // Before the parts of a step: its numbers, on every thread.
    void begin_step(int t) {
        sound_[size_t(t)] = 0;
        for (size_t k = 0; k < stages.size(); ++k) works_[size_t(t)][k] = numbers(stages[k]);
    }

    // Whether a gradient that is not finite makes the new weights so, too; else it is looked at before.
    bool shows() const {
        if (stages.empty()) return true;
        switch (stages[0].rule) {
            case Rule::clip_value:
            case Rule::accumulate:
            case Rule::rprop:
            case Rule::lion: return false;
            default: return !stages[0].looks_at_arrays() && stages[0].on.empty();
        }
    }

    // Weights [from, to) of an array, whose gradient begins at g.
    void part(const Kernels<T>& kernels, T* w, const T* g, int array, long from, long to, int t) {
        StageWork<T>* const works = works_[size_t(t)].data();
        alignas(64) T u[PIECE + ROOM];
        T sound = 0;
        for (long at = from; at < to; at += PIECE) {
            const long count = std::min(PIECE, to - at);
            const T* in = g + (at - from);
            if (!shows_) {
                sound += kernels.take(count, in, u);
                in = u;
            }
            size_t stop = stages.size();
            for (size_t k = 0; k < stages.size(); ++k)
                if (stages[k].rule == Rule::accumulate && works[k].n[1] == 0) stop = k + 1;
            const bool ends = stop == stages.size() && !(stop && waits(works[stop - 1]));
            const bool scales = ends && stop && multiplies_all(stop - 1, works_[size_t(t)]);
            if (scales) --stop;
            const T factor = scales ? works[stop].n[0] : T(1);
            if (ends) sound += descend(kernels, 0, stop, factor, array, at, count, in, u, w, t);
            else
                for (size_t k = 0; k < stop; ++k) in = apply(kernels, k, array, at, count, in, u, w, t);
        }
        sound_[size_t(t)] += sound;
    }

    static constexpr long PIECE = 2048, LARGE = 50000;

  private:
    struct Piece {
        long from, count;
        int array;
    };
    std::vector<Piece> pieces_;
    std::vector<std::vector<long>> pieces_of_;  // of each thread
    std::vector<double> g_squares_, w_squares_, penalty_parts_;
    std::vector<T> factors_;
    std::vector<std::vector<StageWork<T>>> works_;  // of each thread

    bool by_parts_ = false, shows_ = false;
    std::vector<char> stepped_;  // arrays that are stepped in parts
    std::vector<T> sound_;       // of each thread's parts

    long size_ = 0;
    Orthogonalizer<T> orthogonal_;
    bool looks_around_ = false;  // at the loss elsewhere: then the gradient is kept, and there is room for another
    Lines<T> gradient_, there_, gradient_there_;
    std::vector<double> trial_parts_;
    Trial trial_{};

    // Whether a stage only gathers in this step.
    static bool waits(const StageWork<T>& work) { return work.kind == StageKind::accumulate && work.n[1] == 0; }

    bool multiplies_all(size_t k, const std::vector<StageWork<T>>& works) const {
        return works[k].kind == StageKind::scale && stages[k].on.empty();
    }

    // Stage k's numbers in this step, and its memory of the weights from `from` on.
    StageWork<T>& work_at(size_t k, long from, int t) {
        StageWork<T>& work = works_[size_t(t)][k];
        for (int s = 0; s < 3; ++s) work.state[s] = stages[k].state[s] ? stages[k].state[s] + from : nullptr;
        return work;
    }

    // Stage k turns `in` into u; gives where its result is.
    const T* apply(const Kernels<T>& kernels, size_t k, int array, long from, long count, const T* in, T* u, T* w, int t) {
        if (!stages[k].applies(size_t(array))) return in;
        kernels.stage(work_at(k, from, t), count, in, u, w + from);
        return u;
    }

    // Stages [k, stop), and then what they made, times `factor`, is subtracted: by the last of them in the same go.
    T descend(const Kernels<T>& kernels, size_t k, size_t stop, T factor, int array, long from, long count, const T* in,
              T* u, T* w, int t) {
        const bool subtracts = stop > k && stages[stop - 1].applies(size_t(array));
        for (; k < (subtracts ? stop - 1 : stop); ++k) in = apply(kernels, k, array, from, count, in, u, w, t);
        if (!subtracts) return kernels.subtract(count, factor, in, u, w + from);
        return kernels.stage_and_subtract(work_at(stop - 1, from, t), count, factor, in, w + from);
    }

    // How far a step is: in the pass over stages [from, to), of which those up to `stop` run.
    struct Going {
        T *w, *g, *gradient, *update;
        int t;
        size_t from = 0, to = 0, stop = 0;
        bool first = true, last = false, ended = false;  // `ended`: a stage only gathers in this step
        T factor = 1;  // a learning rate at the end is applied as the update is subtracted
        T sound = 0;
    };

    void prepare(Going& going) {
        std::vector<StageWork<T>>& works = works_[size_t(going.t)];
        going.to = going.from;
        while (going.to < stages.size() && !stages[going.to].looks_at_arrays()) ++going.to;
        going.stop = going.to;
        for (size_t k = going.from; k < going.to && !going.ended; ++k) {
            works[k] = numbers(stages[k]);
            going.ended = waits(works[k]);
            if (going.ended) going.stop = k + 1;
        }
        going.last = going.to == stages.size() && !going.ended;
        const bool scales = going.last && going.to > going.from && multiplies_all(going.to - 1, works);
        going.factor = scales ? works[going.to - 1].n[0] : T(1);
        if (scales) --going.stop;
    }

    void step_piece(const Kernels<T>& kernels, Going& going, long p) {
        const Piece piece = pieces_[size_t(p)];
        const size_t bytes = size_t(piece.count) * sizeof(T);
        alignas(64) T u[PIECE + ROOM];
        const T* in = going.g + piece.from;
        T* const w = going.w + piece.from;
        if (!going.first || !shows_ || going.gradient || !penalties.empty()) {
            going.sound += kernels.take(piece.count, in, u);
            in = u;
        }
        if (going.first) {
            penalty_parts_[size_t(p)] = penalize(kernels, p, going.w, u);
            if (going.gradient) std::memcpy(going.gradient + piece.from, u, bytes);
        } else {
            StageWork<T> shorten;
            shorten.kind = StageKind::scale;
            shorten.n[0] = factors_.size() == 1 ? factors_[0] : factors_[size_t(piece.array)];
            kernels.stage(shorten, piece.count, u, u, w);
        }
        if (going.last && !going.update) {
            going.sound += descend(kernels, going.from, going.stop, going.factor, piece.array, piece.from, piece.count, in,
                                   u, going.w, going.t);
            return;
        }
        for (size_t k = going.from; k < going.stop; ++k)
            in = apply(kernels, k, piece.array, piece.from, piece.count, in, u, going.w, going.t);
        if (going.ended) {
            if (going.update) std::memset(going.update + piece.from, 0, bytes);
        } else if (going.last) {
            going.sound += kernels.subtract(piece.count, going.factor, in, u, w);
            std::memcpy(going.update + piece.from, u, bytes);
        } else {
            std::memcpy(going.g + piece.from, u, bytes);
            g_squares_[size_t(p)] = kernels.dot(piece.count, u, u);
            if (stages[going.to].rule == Rule::trust_ratio) w_squares_[size_t(p)] = kernels.dot(piece.count, w, w);
        }
    }

    // Adds the penalties' slopes to the gradient u of piece p, and gives their value there.
    double penalize(const Kernels<T>& kernels, long p, const T* w, T* u) const {
        double value = 0;
        const Piece piece = pieces_[size_t(p)];
        for (const PenaltyOn& penalty : penalties) {
            if (!penalty.on[size_t(piece.array)]) continue;
            StageWork<T> work;
            work.kind = StageKind::penalty;
            work.n[0] = T(penalty.l1);
            work.n[1] = T(penalty.l2);
            value += kernels.penalty_value(work.n[0], work.n[1], piece.count, w + piece.from);
            kernels.stage(work, piece.count, u, u, w + piece.from);
        }
        return value;
    }

    // Stages that look at arrays

    // What the next stage makes of the whole of going.g, or, in factors_, what that is to be multiplied by.
    void look_at_arrays(const Kernels<T>& kernels, const Going& going, Barrier& barrier, const double& loss,
                        const Elsewhere& elsewhere) {
        const DescentStage<T>& stage = stages[going.to];
        if (stage.rule == Rule::line_search) return search(kernels, going, barrier, loss, elsewhere);
        if (stage.rule == Rule::orthogonalize) orthogonalize(kernels, going, stage, barrier);
        if (going.t != 0) return;
        factors_.assign(1, T(1));
        if (stage.rule == Rule::lbfgs) {
            Curvature<T> curvature{size_, long(stage.n[0]), stage.state[0], stage.state[1], stage.state[2],
                                   stage.state[3], *stage.count};
            curvature.apply(kernels, going.w, going.g);
        } else if (stage.rule != Rule::orthogonalize) {
            set_factors(stage);
        }
    }

    void set_factors(const DescentStage<T>& stage) {
        std::vector<double> g(arrays.size(), 0), w(arrays.size(), 0);
        double all = 0;
        for (size_t p = 0; p < pieces_.size(); ++p) {
            const size_t a = size_t(pieces_[p].array);
            if (!stage.applies(a)) continue;
            all += g_squares_[p];
            g[a] += g_squares_[p];
            w[a] += w_squares_[p];
        }
        const auto shortened = [&stage](double squares) {
            const double norm = std::sqrt(squares);
            return T(norm > stage.n[0] ? stage.n[0] / norm : 1);
        };
        if (stage.rule == Rule::clip_global_norm && stage.on.empty()) {
            factors_[0] = shortened(all);
            return;
        }
        factors_.assign(arrays.size(), T(1));
        for (size_t a = 0; a < arrays.size(); ++a)
            if (!stage.applies(a)) continue;
            else if (stage.rule == Rule::clip_global_norm) factors_[a] = shortened(all);
            else if (stage.rule == Rule::clip_norm) factors_[a] = shortened(g[a]);
            else if (g[a] > 0 && w[a] > 0) factors_[a] = T(std::sqrt(w[a]) / std::sqrt(g[a]));
    }

    void orthogonalize(const Kernels<T>& kernels, const Going& going, const DescentStage<T>& stage, Barrier& barrier) {
        for (size_t a = 0; a < arrays.size(); ++a) {
            if (!stage.applies(a)) continue;
            T* const x = going.g + arrays[a].from;
            const long count = arrays[a].count();
            if (columns[a]) orthogonal_(kernels, x, count / columns[a], columns[a], int(stage.n[0]), stage.n[1], going.t, barrier);
            else if (going.t == 0) std::memset(x, 0, size_t(count) * sizeof(T));  // a vector is orthogonal to nothing
        }
    }

    // The length of the step along going.g, in factors_. Every thread follows the same search.
    void search(const Kernels<T>& kernels, const Going& going, Barrier& barrier, const double& loss,
                const Elsewhere& elsewhere) {
        const int t = going.t;
        const auto slope = [&](const T* gradient) { return -kernels.dot(size_, gradient, going.g); };
        const auto total = [](const std::vector<double>& parts) {
            double sum = 0;
            for (double part : parts) sum += part;
            return sum;
        };
        const Range mine = share(size_, MOST_LANES, t, int(works_.size()));
        const auto along = [&](double step) {
            std::memcpy(there_.data() + mine.from, going.w + mine.from, size_t(mine.count()) * sizeof(T));
            kernels.add_times(mine.count(), T(-step), going.g + mine.from, there_.data() + mine.from);
            barrier.wait();
            const double value = elsewhere(there_.data(), gradient_there_.data());
            for (const long p : pieces_of_[size_t(t)])
                trial_parts_[size_t(p)] = penalize(kernels, p, there_.data(), gradient_there_.data() + pieces_[size_t(p)].from);
            barrier.wait();
            if (t == 0) trial_ = {step, value + total(trial_parts_), slope(gradient_there_.data())};
            barrier.wait();
            return trial_;
        };
        if (t == 0) trial_ = {0, loss + total(penalty_parts_), slope(going.gradient)};
        barrier.wait();
        const Trial start = trial_;
        const auto& n = stages[going.to].n;
        const LineSearch search{n[0], n[1], int(n[2])};
        const double length = start.slope < 0 ? search(along, start) : 0;
        if (t == 0) factors_.assign(1, T(length));
    }

    void make_room(long size, int threads) {
        size_ = size;
        long matrix = 0, shorter = 0;
        for (size_t a = 0; a < arrays.size(); ++a) {
            if (!columns[a]) continue;
            matrix = std::max(matrix, arrays[a].count());
            shorter = std::max(shorter, std::min(columns[a], arrays[a].count() / columns[a]));
        }
        const auto uses = [this](Rule rule) {
            return std::any_of(stages.begin(), stages.end(), [rule](auto& s) { return s.rule == rule; });
        };
        if (uses(Rule::orthogonalize)) orthogonal_.finish(matrix, shorter, threads);
        looks_around_ = uses(Rule::line_search);
        if (!looks_around_) return;
        for (auto* room : {&gradient_, &there_, &gradient_there_}) room->resize(size_t(size + ROOM));
        trial_parts_.assign(pieces_.size(), 0);
    }

    // Counts go on once all threads are done with them: up to the stage that ended the step, if one did.
    void end_step() {
        penalty = 0;
        for (double part : penalty_parts_) penalty += part;
        for (DescentStage<T>& stage : stages) {
            if (!stage.count || stage.rule == Rule::lbfgs) continue;
            ++*stage.count;
            if (stage.rule != Rule::accumulate) continue;
            if (*stage.count < int64_t(stage.n[0])) break;
            *stage.count = 0;
        }
    }
};

}  // namespace chainrule
