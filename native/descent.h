// Gradient descent: a chain of stages over the flat vectors, in pieces that fit the nearest cache.
//
// Without such stages and penalties, any part of an array can be stepped as soon as its gradient is known: what computes
// gradients then asks for `part`, while they are in the nearest cache, and `step` does the rest.
//
// A stage that needs the norm of an array, or of all, divides the chain into passes: the norm is taken at the end of one
// and used at the beginning of the next. Sums are kept for each piece and added in order, whoever computed them.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels.h"
#include "schedules.h"
#include "threads.h"

namespace chainrule {

enum class Rule : int {
    rate, plateau, decay, clip_value, accumulate, average, momentum, nesterov, adagrad, adadelta, rms, rprop,
    adam, amsgrad, nadam, radam, adamax, lion, clip_norm, clip_global_norm, trust_ratio
};

template <class T> struct DescentStage {
    Rule rule;
    std::vector<double> n;  // the definition's numbers
    std::vector<char> on;   // for decay: whether it applies to each array
    Schedule schedule;
    // Its memory, lent for a run.
    T* state[3] = {};
    int64_t* count = nullptr;
    double* scale = nullptr;

    bool needs_norm() const { return rule >= Rule::clip_norm; }
};

struct PenaltyOn {
    double l1, l2;
    std::vector<char> on;
};

template <class T> class Descent {
  public:
    std::vector<Range> arrays;
    std::vector<PenaltyOn> penalties;
    std::vector<DescentStage<T>> stages;
    double penalty = 0;  // its value in the last step

    void finish(long size, int threads) {
        pieces_.clear();
        works_.assign(size_t(threads), std::vector<StageWork<T>>(stages.size()));
        shows_ = shows();
        by_parts_ = size > LARGE && penalties.empty() &&
                    std::none_of(stages.begin(), stages.end(), [](auto& s) { return s.needs_norm(); });
        stepped_.assign(arrays.size() + 1, 0);
        sound_.assign(size_t(threads), 0);
        const bool by_array = std::any_of(stages.begin(), stages.end(), [](auto& s) {
            return !s.on.empty() || s.rule == Rule::clip_norm || s.rule == Rule::trust_ratio;
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
    }

    // One step, called by every thread; g is the gradient, which becomes scratch. With `gradient` and `update` the
    // whole gradient (with penalties) and what was subtracted are handed out. False if something is not finite, on
    // the thread that saw it.
    bool step(const Kernels<T>& kernels, T* w, T* g, T* gradient, T* update, int t, Barrier& barrier) {
        Going going{w, g, gradient, update, t};
        going.sound = sound_[size_t(t)];
        sound_[size_t(t)] = 0;
        while (!going.ended) {
            prepare(going);
            for (const long p : pieces_of_[size_t(t)])
                if (!stepped_[size_t(pieces_[size_t(p)].array)] || gradient || !by_parts_) step_piece(kernels, going, p);
            if (going.last || going.ended) break;
            barrier.wait();
            if (t == 0) set_factors(stages[going.to]);
            barrier.wait();
            going.first = false;
            going.from = going.to + 1;
        }
        const T sound = going.sound;
        barrier.wait();
        if (t == 0) end_step();
        return sound == 0;
    }

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
            default: return !stages[0].needs_norm() && stages[0].on.empty();
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
            const bool scales = ends && stop && works[stop - 1].kind == StageKind::scale;
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

    // Whether a stage only gathers in this step.
    static bool waits(const StageWork<T>& work) { return work.kind == StageKind::accumulate && work.n[1] == 0; }

    bool applies(size_t k, int array) const { return stages[k].on.empty() || stages[k].on[size_t(array)]; }

    // Stage k's numbers in this step, and its memory of the weights from `from` on.
    StageWork<T>& work_at(size_t k, long from, int t) {
        StageWork<T>& work = works_[size_t(t)][k];
        for (int s = 0; s < 3; ++s) work.state[s] = stages[k].state[s] ? stages[k].state[s] + from : nullptr;
        return work;
    }

    // Stage k turns `in` into u; gives where its result is.
    const T* apply(const Kernels<T>& kernels, size_t k, int array, long from, long count, const T* in, T* u, T* w, int t) {
        if (!applies(k, array)) return in;
        kernels.stage(work_at(k, from, t), count, in, u, w + from);
        return u;
    }

    // Stages [k, stop), and then what they made, times `factor`, is subtracted: by the last of them in the same go.
    T descend(const Kernels<T>& kernels, size_t k, size_t stop, T factor, int array, long from, long count, const T* in,
              T* u, T* w, int t) {
        const bool subtracts = stop > k && applies(stop - 1, array);
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
        while (going.to < stages.size() && !stages[going.to].needs_norm()) ++going.to;
        going.stop = going.to;
        for (size_t k = going.from; k < going.to && !going.ended; ++k) {
            works[k] = numbers(stages[k]);
            going.ended = waits(works[k]);
            if (going.ended) going.stop = k + 1;
        }
        going.last = going.to == stages.size() && !going.ended;
        const bool scales = going.last && going.to > going.from && works[going.to - 1].kind == StageKind::scale;
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
            penalize(kernels, p, going.w, u);
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
            g_squares_[size_t(p)] = kernels.squares(piece.count, u);
            if (stages[going.to].rule == Rule::trust_ratio) w_squares_[size_t(p)] = kernels.squares(piece.count, w);
        }
    }

    void penalize(const Kernels<T>& kernels, long p, const T* w, T* u) {
        if (penalties.empty()) return;
        const Piece piece = pieces_[size_t(p)];
        double value = 0;
        for (const PenaltyOn& penalty : penalties) {
            if (!penalty.on[size_t(piece.array)]) continue;
            StageWork<T> work;
            work.kind = StageKind::penalty;
            work.n[0] = T(penalty.l1);
            work.n[1] = T(penalty.l2);
            value += kernels.penalty_value(work.n[0], work.n[1], piece.count, w + piece.from);
            kernels.stage(work, piece.count, u, u, w + piece.from);
        }
        penalty_parts_[size_t(p)] = value;
    }

    // The numbers that a stage's kernel needs for this step.
    static StageWork<T> numbers(const DescentStage<T>& s) {
        StageWork<T> w;
        for (int k = 0; k < 3; ++k) w.state[k] = s.state[k];
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

    // base^t for 0 <= base < 1, which takes time: where it is below a unit in the last place of 1 it is taken as 0.
    static double power(double base, double t) {
        if (t * (1 - base) > 40) return 0;  // base^t < exp(-40)
        return std::pow(base, t);
    }

    // RAdam's; negative while the divisor is not to be trusted.
    static double rectifier(double beta2, double t) {
        const double longest = 2 / (1 - beta2) - 1, faded = std::pow(beta2, t);
        const double length = longest - 2 * t * faded / (1 - faded);
        if (length < 5) return -1;
        return std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
    }

    void set_factors(const DescentStage<T>& stage) {
        std::vector<double> g(arrays.size(), 0), w(arrays.size(), 0);
        double all = 0;
        for (size_t p = 0; p < pieces_.size(); ++p) {
            all += g_squares_[p];
            g[size_t(pieces_[p].array)] += g_squares_[p];
            w[size_t(pieces_[p].array)] += w_squares_[p];
        }
        const auto shortened = [&stage](double squares) {
            const double norm = std::sqrt(squares);
            return T(norm > stage.n[0] ? stage.n[0] / norm : 1);
        };
        factors_.assign(stage.rule == Rule::clip_global_norm ? 1 : arrays.size(), T(1));
        if (stage.rule == Rule::clip_global_norm) factors_[0] = shortened(all);
        else
            for (size_t a = 0; a < arrays.size(); ++a)
                if (stage.rule == Rule::clip_norm) factors_[a] = shortened(g[a]);
                else if (g[a] > 0 && w[a] > 0) factors_[a] = T(std::sqrt(w[a]) / std::sqrt(g[a]));
    }

    // Counts go on once all threads are done with them: up to the stage that ended the step, if one did.
    void end_step() {
        penalty = 0;
        for (double part : penalty_parts_) penalty += part;
        for (DescentStage<T>& stage : stages) {
            if (!stage.count) continue;
            ++*stage.count;
            if (stage.rule != Rule::accumulate) continue;
            if (*stage.count < int64_t(stage.n[0])) break;
            *stage.count = 0;
        }
    }
};

}  // namespace chainrule
