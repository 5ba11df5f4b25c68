#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct uc_hash {
    EVP_MD_CTX *md;
};

/* The system's OpenSSL configuration has nothing to say about SHA-256, and reading it would cost
 * every worker process most of a millisecond. Only the first call does anything. */
static void skip_config(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

struct uc_hash *uc_hash_new(void)
{
    struct uc_hash *h = uc_xmalloc(sizeof(*h));

    skip_config();
    h->md = EVP_MD_CTX_new();
    if (!h->md || !EVP_DigestInit_ex(h->md, EVP_sha256(), NULL))
        abort();
    return h;
}

void uc_hash_free(struct uc_hash *h)
{
    if (h)
        EVP_MD_CTX_free(h->md);
    free(h);
}

void uc_hash_add(struct uc_hash *h, const void *p, size_t n)
{
    if (!EVP_DigestUpdate(h->md, p, n))
        abort();
}

void uc_hash_end(struct uc_hash *h, struct uc_digest *out)
{
    if (!EVP_DigestFinal_ex(h->md, out->b, NULL) || !EVP_DigestInit_ex(h->md, EVP_sha256(), NULL))
        abort();
}

void uc_digest_of(const void *p, size_t n, struct uc_digest *out)
{
    skip_config();
    if (!EVP_Digest(p, n, out->b, NULL, EVP_sha256(), NULL))
        abort();
}

char *uc_digest_hex(const struct uc_digest *d, char out[UC_HEX_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";

    for (int i = 0; i < 32; i++) {
        out[2 * i] = hex[d->b[i] >> 4];
        out[2 * i + 1] = hex[d->b[i] & 15];
    }
    out[UC_HEX_LEN] = 0;
    return out;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool uc_digest_parse(const char *hex, struct uc_digest *out)
{
    for (int i = 0; i < 32; i++) {
        int hi = nibble(hex[2 * i]);
        int lo = hi < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (lo < 0)
            return false;
        out->b[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

bool uc_digest_eq(const struct uc_digest *a, const struct uc_digest *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

uint32_t uc_crc32(uint32_t crc, const void *p, size_t n)
{
    /* Four bits at a time: the checksum covers a few dozen megabytes at most per tensor. */
    static const uint32_t t[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                   0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                   0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                   0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    const uint8_t *b = p;

    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc = t[(crc ^ b[i]) & 15] ^ crc >> 4;
        crc = t[(crc ^ b[i] >> 4) & 15] ^ crc >> 4;
    }
    return ~crc;
}
