#!/usr/bin/env python3
"""Every component of tokenizer.json that uc knows, against the `tokenizers` package.

Small tokenizers are made that each use some components; the ids of random texts, and the text of
those ids, must be the package's. Exit 77 when the package is not there.
usage: tokenizer_parts.py [SEED [ROUNDS]]      UC_BIN: the binary (default build/uc)
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

try:
    import tokenizers
except ImportError:
    print("SKIP: the Python package `tokenizers` is not installed (pip install tokenizers)")
    sys.exit(77)

uc = os.environ.get("UC_BIN", "build/uc")
seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
rng = random.Random(seed)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
REGEXES = [GPT2, QWEN, CASED, r"\s+", r"\w+|[^\w\s]+", r"\d", r"[,.!?]", r"x*", r"(?<=a)b|^c", r" ", r".", r"\S+\s?",
           r"[\s\p{P}]", r"\u00e9|\p{Han}"]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
MARK = "\u2581"

# Characters that Unicode 3.2 had: the package's own tables are of several ages (its normalizer knows
# Unicode 9), and so are the libraries here; about newer characters they may differ.
AGE = [chr(c) for c in range(0x20, 0x110000) if not 0xd800 <= c < 0xe000]
AGE = [c for c in AGE if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Co")]
WORDS = ("the of and to a in is it you that he was for on are with as his they be at one have this from "
         "I'll we've DON'T it's o'clock x1 42 2024 3.14 foo_bar a\u0301 e\u0301te\u0301 \u1e9b\u0323 \u00df \u0130stanbul "
         "\ud55c\uad6d\uc5b4 \u4e2d\u6587 \u65e5\u672c\u8a9e \u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u05e2\u05d1\u05e8\u05d9\u05ea "
         "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u00bd \u2167 \u2460 \u24b6 "
         "\ufb01 \uff21 \u03a3\u03c3\u03c2 aa aaa ab ba abab <s> </s> <unk> [X] hey").split()
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u180e", "\ufeff", "\u0085", "", "\u200b", "\u2028"]


def text(n):
    out = []
    while sum(map(len, out)) < n:
        k = rng.random()
        if k < 0.8:
            out.append(rng.choice(WORDS))
        elif k < 0.9:
            out.append(rng.choice(AGE))
        else:
            out.append("".join(rng.choice("abc,.! 19\u0301" + MARK) for _ in range(rng.randrange(1, 8))))
        out.append(rng.choice(SPACES))
    return "".join(out)


def alphabet():
    byte = [c for c in list(range(33, 127)) + list(range(0xa1, 0xad)) + list(range(0xae, 0x100))]
    return [chr(c) for c in byte] + [chr(256 + i) for i in range(68)]


def pattern():
    if rng.random() < 0.4:
        return {"String": rng.choice([" ", "a", "ab", "aa", ",", "\u00e9", "\n", "'"])}
    return {"Regex": rng.choice(REGEXES)}


def normalizer():
    pick = rng.choice(["none", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend", "Replace", "Strip", "StripAccents",
                       "Sequence", "llama", "ByteLevel"])
    if pick == "none":
        return None
    if pick == "Prepend":
        return {"type": "Prepend", "prepend": rng.choice([MARK, "ab", " "])}
    if pick == "Replace":
        return {"type": "Replace", "pattern": pattern(), "content": rng.choice([MARK, "", "zz", " "])}
    if pick == "Strip":
        return {"type": "Strip", "strip_left": rng.random() < .5, "strip_right": rng.random() < .5}
    if pick == "llama":
        return {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK},
                                                    {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
    if pick == "Sequence":
        return {"type": "Sequence", "normalizers": [n for n in (normalizer() for _ in range(3)) if n]}
    return {"type": pick}


def metaspace():
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": rng.choice(["always", "first", "never"]),
            "split": rng.random() < .7}


def byte_level():
    return {"type": "ByteLevel", "add_prefix_space": rng.random() < .5, "trim_offsets": rng.random() < .5,
            "use_regex": rng.random() < .5}


def pre_tokenizer(last):
    pick = rng.choice(["none", "Split", "Split", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "Metaspace",
                       "ByteLevel", "Sequence", "Sequence"])
    if pick == "none":
        return None
    if pick == "Split":
        return {"type": "Split", "pattern": pattern(), "behavior": rng.choice(BEHAVIORS), "invert": rng.random() < .3}
    if pick == "Digits":
        return {"type": "Digits", "individual_digits": rng.random() < .5}
    if pick == "Punctuation":
        return {"type": "Punctuation", "behavior": rng.choice(BEHAVIORS)}
    if pick == "Metaspace":
        return metaspace()
    if pick == "ByteLevel":
        return byte_level()
    if pick == "Sequence":
        return {"type": "Sequence", "pretokenizers": [p for p in (pre_tokenizer(i == 2) for i in range(3)) if p]}
    return {"type": pick}


def decoder():
    pick = rng.choice(["none", "ByteLevel", "Metaspace", "llama", "Replace", "Fuse", "Strip"])
    if pick == "none":
        return None
    if pick == "ByteLevel":
        return {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    if pick == "Metaspace":
        return metaspace()
    if pick == "Replace":
        return {"type": "Replace", "pattern": pattern(), "content": rng.choice([" ", "", "q"])}
    if pick == "Fuse":
        return {"type": "Fuse"}
    if pick == "Strip":
        return {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": rng.choice("ath "), "start": 1, "stop": 0}]}
    return {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"},
                                             {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def model(sample):
    """A vocabulary of characters, some bytes, and random merges whose results may coincide."""
    fallback = rng.random() < .5
    tokens = ["<unk>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback and rng.random() < .8 else [])
    chars = sorted(set(sample))
    tokens += [c for c in chars if rng.random() < .9] + alphabet() + [MARK]
    tokens = list(dict.fromkeys(tokens))
    base, merges = list("abcdehilnorstux ,") + ["\u0120", MARK, "\u010a"], []
    base = [b for b in base if b in tokens]
    pool = list(base)
    for _ in range(rng.randrange(20, 400)):
        a, b = rng.choice(pool), rng.choice(pool if rng.random() < .5 else base)
        if len(a + b) > 8 or [a, b] in merges or (" " in a + b and rng.random() < .5):
            continue
        merges.append([a, b])
        pool.append(a + b)
        if a + b not in tokens:
            tokens.append(a + b)
    rng.shuffle(merges)
    if rng.random() < .3 and not any(" " in m[0] + m[1] for m in merges):
        merges = [" ".join(m) for m in merges]
    unk = rng.random()
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>" if unk < .7 else None, "continuing_subword_prefix": None,
            "end_of_word_suffix": "" if unk < .5 else None, "fuse_unk": rng.random() < .5, "byte_fallback": fallback,
            "ignore_merges": rng.random() < .3, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}


def added(m):
    out = []
    for i, c in enumerate(rng.sample(["<s>", "</s>", "[X]", "hey", "the", " of", "a\u0301", "\u00df", "Hey"], rng.randrange(0, 6))):
        special = rng.random() < .5
        ident = m["vocab"].get(c)
        if ident is None:
            ident = len(m["vocab"]) + sum(1 for t in out if t["content"] not in m["vocab"])
        out.append({"id": ident, "content": c, "single_word": rng.random() < .3, "lstrip": rng.random() < .3, "rstrip": rng.random() < .3,
                    "normalized": rng.random() < .5, "special": special})
    return out


def settle(pre, norm):
    """`first` means the start of the text; what that is after something was put there is not defined."""
    parts = json.dumps([pre, norm])
    if parts.count('"Metaspace"') > 1 or any(f'"{t}"' in parts for t in ("ByteLevel", "Prepend", "Replace", "Strip")):
        return json.loads(json.dumps(pre).replace('"first"', '"never"'))
    return pre


def sweep(tmp):
    """Which characters each class holds: every character that a Split removes is missing from the ids."""
    vocab = {f"<0x{b:02X}>": b for b in range(256)}
    m = {"type": "BPE", "byte_fallback": True, "vocab": vocab, "merges": []}
    sample = "".join(AGE)
    steps = [{"type": "Split", "pattern": {"Regex": r}, "behavior": "Removed", "invert": i}
             for r in (r"\s", r"\S", r"\w", r"\W", r"[\s]", r"[^\s]", r"[\w]", r"\d", r"\p{L}", r"\p{N}", r"\p{P}", r"\p{M}", r"\p{Lu}",
                       r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{S}", r"\p{Nd}", r"(?i:s)", r"(?i:\u00e9)", r"\p{Han}", r".")
             for i in (False, True)]
    steps += [{"type": "Punctuation", "behavior": "Removed"}, {"type": "WhitespaceSplit"}, {"type": "Whitespace"}]
    return [({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": s, "post_processor": None, "decoder": None,
              "model": m}, sample) for s in steps]


def post(tokens):
    if not tokens or rng.random() < .5:
        return rng.choice([None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}])
    t = tokens[0]
    s = {"SpecialToken": {"id": t["content"], "type_id": 0}}
    a = {"Sequence": {"id": "A", "type_id": 0}}
    single = rng.choice([[s, a], [a, s], [s, a, s, s]])
    tp = {"type": "TemplateProcessing", "single": single, "pair": [a, {"Sequence": {"id": "B", "type_id": 1}}],
          "special_tokens": {t["content"]: {"id": t["content"], "ids": [t["id"]], "tokens": [t["content"]]}}}
    return rng.choice([tp, {"type": "Sequence", "processors": [tp, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}]}])


def run(*args):
    r = subprocess.run([uc, "tokenize", *args], capture_output=True)
    if r.returncode:
        raise SystemExit(f"uc tokenize {args}: {r.stderr.decode()}")
    return r.stdout


def quiet(function):
    """What function returns, or None when the package panics, which it does on some combinations."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def compare(name, spec, sample, tmp, special):
    """True when uc gives what the package gives (or the package gives nothing)."""
    path, txt, idf = (os.path.join(tmp, n) for n in ("tokenizer.json", "t.txt", "ids.txt"))
    with open(path, "w", encoding="utf-8") as f:
        json.dump(spec, f, ensure_ascii=rng.random() < .5)

    def ask():
        t = tokenizers.Tokenizer.from_file(path)
        forms = [t.normalizer.normalize_str(a["content"]) for a in spec["added_tokens"] if a["normalized"] and t.normalizer]
        if len(set(forms)) < len(forms):
            raise ValueError("which of two equal added tokens wins is chance")
        ids = t.encode(sample, add_special_tokens=special).ids
        return t, ids, t.decode(ids, skip_special_tokens=False) if ids else ""

    answer = quiet(ask)
    if answer is None:
        return True
    oracle, want, back = answer
    with open(txt, "w", encoding="utf-8", newline="") as f:
        f.write(sample)
    got = [int(x) for x in run(*(["--special"] if special else []), path, txt).split()]
    with open(idf, "w") as f:
        f.write(" ".join(map(str, want)))
    text_back = run("--decode", path, idf).decode()
    if got == want and text_back == back:
        return True
    brief = {k: v for k, v in spec.items() if k != "model"}
    print(f"{name}: {'ids' if got != want else 'text'} differ: {json.dumps(brief)}",
          {k: v for k, v in spec["model"].items() if k not in ("vocab", "merges")})
    if got != want:
        i = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        print("  at", i, "want", [oracle.id_to_token(x) for x in want[max(0, i - 3):i + 5]], "got",
              [oracle.id_to_token(x) for x in got[max(0, i - 3):i + 5]])
    else:
        i = next((i for i, (a, b) in enumerate(zip(text_back, back)) if a != b), 0)
        print("  want", repr(back[max(0, i - 10):i + 20]), "got", repr(text_back[max(0, i - 10):i + 20]))
    return False


def main():
    bad = n = 0
    with tempfile.TemporaryDirectory() as tmp:
        for n in range(rounds):
            sample = text(rng.choice([10, 400, 3000]))
            m = model(sample)
            spec = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(m), "normalizer": normalizer(),
                    "pre_tokenizer": pre_tokenizer(True), "post_processor": None, "decoder": decoder(), "model": m}
            spec["pre_tokenizer"] = settle(spec["pre_tokenizer"], spec["normalizer"])
            spec["post_processor"] = post(spec["added_tokens"])
            bad += not compare(f"seed {seed}, round {n}", spec, sample, tmp, rng.random() < .5)
        for spec, sample in sweep(tmp):
            n += 1
            bad += not compare("all characters", spec, sample, tmp, False)
    print(f"{n + 1} tokenizers, {bad} differ from tokenizers {tokenizers.__version__}")
    return 1 if bad else 0


sys.exit(main())
