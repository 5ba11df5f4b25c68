#!/usr/bin/env python3
"""Makes tests/golden/model.safetensors: a random two-layer Llama with what the engine must compute
on it, by an independent float64 forward and backward pass in numpy.

    make_model_golden.py            writes it
    make_model_golden.py --check    fails when what is there differs

The gradients are checked against finite differences first. Weights, embedding and ids are exact in
fp32; results are float64. Needs numpy and safetensors.
"""
import os
import sys

try:
    import numpy as np
    from safetensors.numpy import load_file, save_file
except ImportError as e:
    print(f"SKIPPED: {e}")
    sys.exit(77)

HIDDEN, HEADS, KV, DIM, INTER, VOCAB, LAYERS = 16, 4, 2, 4, 24, 40, 2
SEQLEN, TOKENS, THETA, EPS, SEED = 10, 23, 10000.0, 1e-5, 7
TAPS = {"attn_in": "qkv", "attn_out": "o", "mlp_in": ("gate", "up"), "mlp_mid": ("down",)}


def philox_uniform(seed, stream, index):
    """Philox4x32-10 of (index, stream) under key seed; the top 24 bits of the first word."""
    mask = 0xffffffff
    c = [index & mask, index >> 32, stream & mask, stream >> 32]
    k = [seed & mask, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return (c[0] >> 8) / 2.0 ** 24


def windows(n):
    return [slice(a, min(a + SEQLEN, n)) for a in range(0, n, SEQLEN)]


def rms(x, w):
    r = 1 / np.sqrt((x * x).mean(1, keepdims=True) + EPS)
    return x * r * w, r


def rms_back(dy, x, w, r):
    t = dy * w
    return t * r - x * r ** 3 * (t * x).mean(1, keepdims=True)


def turn(x, n_head, sign):
    """Half-split rotary positions on x [time, n_head * DIM]."""
    half = DIM // 2
    angle = np.outer(np.arange(len(x)), THETA ** (-np.arange(half) * 2.0 / DIM))[:, None, :] * sign
    x = x.reshape(len(x), n_head, DIM)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                           b * np.cos(angle) + a * np.sin(angle)], -1).reshape(len(x), -1)


def attend(q, k, v):
    t, out, probs = len(q), np.empty((len(q), HEADS * DIM)), []
    for h in range(HEADS):
        g = h // (HEADS // KV)
        hs, gs = slice(h * DIM, (h + 1) * DIM), slice(g * DIM, (g + 1) * DIM)
        s = q[:, hs] @ k[:, gs].T / np.sqrt(DIM)
        s[np.triu(np.ones((t, t), bool), 1)] = -np.inf
        p = np.exp(s - s.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        out[:, hs] = p @ v[:, gs]
        probs.append(p)
    return out, probs


def attend_back(dy, q, k, v, probs):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for h, p in enumerate(probs):
        g = h // (HEADS // KV)
        hs, gs = slice(h * DIM, (h + 1) * DIM), slice(g * DIM, (g + 1) * DIM)
        dv[:, gs] += p.T @ dy[:, hs]
        dp = dy[:, hs] @ v[:, gs].T
        ds = p * (dp - (dp * p).sum(1, keepdims=True)) / np.sqrt(DIM)
        dq[:, hs] = ds @ k[:, gs]
        dk[:, gs] += ds.T @ q[:, hs]
    return dq, dk, dv


def layer(w, x, keep):
    """x [TOKENS, HIDDEN], all windows; keep takes what the backward pass needs."""
    a, r1 = rms(x, w["attn_norm"])
    q, k, v = a @ w["q"].T, a @ w["k"].T, a @ w["v"].T
    ctx, probs = np.empty((len(x), HEADS * DIM)), []
    for s in windows(len(x)):
        q[s], k[s] = turn(q[s], HEADS, 1), turn(k[s], KV, 1)
        ctx[s], p = attend(q[s], k[s], v[s])
        probs.append(p)
    x2 = x + ctx @ w["o"].T
    b, r2 = rms(x2, w["mlp_norm"])
    g, u = b @ w["gate"].T, b @ w["up"].T
    m = g / (1 + np.exp(-g)) * u
    keep.update(x=x, r1=r1, q=q, k=k, v=v, probs=probs, x2=x2, r2=r2, g=g, u=u,
                attn_in=a, attn_out=ctx, mlp_in=b, mlp_mid=m)
    return x2 + m @ w["down"].T


def layer_back(w, dy, s):
    """Gradient at the input, and at each linear's output."""
    grads = {"down": dy}
    dm = dy @ w["down"]
    sig = 1 / (1 + np.exp(-s["g"]))
    grads["gate"] = dm * s["u"] * sig * (1 + s["g"] * (1 - sig))
    grads["up"] = dm * s["g"] * sig
    db = grads["gate"] @ w["gate"] + grads["up"] @ w["up"]
    dx2 = dy + rms_back(db, s["x2"], w["mlp_norm"], s["r2"])
    grads["o"] = dx2
    dctx = dx2 @ w["o"]
    dq, dk, dv = np.empty_like(s["q"]), np.empty_like(s["k"]), np.empty_like(s["v"])
    for i, t in enumerate(windows(len(dy))):
        dq[t], dk[t], dv[t] = attend_back(dctx[t], s["q"][t], s["k"][t], s["v"][t], s["probs"][i])
        dq[t], dk[t] = turn(dq[t], HEADS, -1), turn(dk[t], KV, -1)
    grads.update(q=dq, k=dk, v=dv)
    da = dq @ w["q"] + dk @ w["k"] + dv @ w["v"]
    return dx2 + rms_back(da, s["x"], w["attn_norm"], s["r1"]), grads


def scored(n):
    """Every position but the last of a window."""
    m = np.ones(n, bool)
    for s in windows(n):
        m[s.stop - 1] = False
    return m


def logp(model, x):
    """Log-probabilities from the last layer's output, and the head's input."""
    h, r = rms(x, model["final_norm"])
    z = h @ model["head"].T
    z -= z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True)), h, r


def run(model, x):
    states, xs = [], [x]
    for w in model["layers"]:
        states.append({})
        xs.append(layer(w, xs[-1], states[-1]))
    return xs, states


def backward(model, xs, states, labels):
    """Gradients at every layer's input of -sum log p(label) over the scored positions."""
    lp, h, r = logp(model, xs[-1])
    d = np.exp(lp)
    d[np.arange(len(labels)), labels] -= 1
    d[~scored(len(labels))] = 0
    dx = rms_back(d @ model["head"], xs[-1], model["final_norm"], r)
    dxs, grads = [dx], []
    for w, s in zip(reversed(model["layers"]), reversed(states)):
        dx, g = layer_back(w, dx, s)
        dxs.insert(0, dx)
        grads.insert(0, g)
    return dxs, grads


def check_gradients(model, x, labels, dxs):
    """Central differences of the loss along random directions at the embedding."""
    rng, n = np.random.default_rng(1), len(labels)

    def loss(x0):
        lp = logp(model, run(model, x0)[0][-1])[0]
        return -lp[np.arange(n), labels][scored(n)].sum()

    for _ in range(20):
        v = rng.standard_normal(x.shape)
        step = 1e-5
        got = (loss(x + step * v) - loss(x - step * v)) / (2 * step)
        want = (dxs[0] * v).sum()
        assert abs(got - want) <= 1e-6 * max(1, abs(want)), (got, want)


def make_model(rng):
    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols)) / np.sqrt(cols)).astype(np.float32)

    def norm():
        return (1 + 0.3 * rng.standard_normal(HIDDEN)).astype(np.float32)

    layers = [{"attn_norm": norm(), "q": matrix(HEADS * DIM, HIDDEN), "k": matrix(KV * DIM, HIDDEN),
               "v": matrix(KV * DIM, HIDDEN), "o": matrix(HIDDEN, HEADS * DIM), "mlp_norm": norm(),
               "gate": matrix(INTER, HIDDEN), "up": matrix(INTER, HIDDEN),
               "down": matrix(HIDDEN, INTER)} for _ in range(LAYERS)]
    return {"layers": layers, "final_norm": norm(), "embed": matrix(VOCAB, HIDDEN),
            "head": 3 * matrix(VOCAB, HIDDEN)}


def double(v):
    if isinstance(v, dict):
        return {k: double(x) for k, x in v.items()}
    return [double(x) for x in v] if isinstance(v, list) else v.astype(np.float64)


def results(model, ids):
    out = {}
    xs, states = run(model, model["embed"][ids])
    lp, h, _ = logp(model, xs[-1])
    u = [philox_uniform(SEED, 1, t) for t in range(len(ids))]
    p = np.exp(lp)
    labels = np.array([np.searchsorted(np.cumsum(p[t]), u[t]) for t in range(len(ids))])
    dxs, grads = backward(model, xs, states, labels)
    check_gradients(model, xs[0], labels, dxs)
    for i, (s, g) in enumerate(zip(states, grads)):
        for tap, roles in TAPS.items():
            a = s[tap]
            weight = sum((g[r] ** 2).sum(1) for r in roles)
            out[f"{i}.s.{tap}"] = a.T @ a
            out[f"{i}.sw.{tap}"] = (a * weight[:, None]).T @ a
            out[f"{i}.weight.{tap}"] = weight.sum(keepdims=True)
        for role, grad in g.items():
            out[f"{i}.h.{role}"] = (grad ** 2).sum(0)
    for i, (x, dx) in enumerate(zip(xs, dxs)):
        out[f"x.{i}"], out[f"dx.{i}"] = x, dx
    weight = 1 - (p * p).sum(1)
    out["s.head"], out["sw.head"] = h.T @ h, (h * weight[:, None]).T @ h
    out["s.grad"] = dxs[0].T @ dxs[0]
    out["final"] = h
    return out


def make_golden():
    rng = np.random.default_rng(20)
    model = make_model(rng)
    ids = rng.integers(0, VOCAB, TOKENS)
    out = {k: np.ascontiguousarray(v, np.float64) for k, v in results(double(model), ids).items()}
    for i, w in enumerate(model["layers"]):
        for role, v in w.items():
            out[f"layer/{i:03d}/w/{role}"] = v
    for role in ("embed", "final_norm", "head"):
        out[f"w/{role}"] = model[role]
    out["ids"] = ids.astype(np.uint32)
    return out


def same(a, b):
    """float64 sums may differ in their last bits between numpy builds; weights may not."""
    if a.dtype != np.float64:
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a.shape == b.shape and np.abs(a - b).max() <= 1e-10 * np.abs(b).max()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(here, "../golden/model.safetensors")
    golden = make_golden()
    if sys.argv[1:] != ["--check"]:
        save_file(golden, path, {"format": "pt"})
        return
    there = load_file(path)
    assert sorted(there) == sorted(golden), "other tensors"
    wrong = [name for name in sorted(golden) if not same(there[name], golden[name])]
    assert not wrong, f"differ: {wrong}"
    print(f"{len(golden)} tensors as they were made")


main()
