# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Loops over characters and word hashes: no policy (lists come as arguments) and no state.

A word is compared by a 64-bit hash of its code points. Two different words of one text share a hash with probability
below n^2 / 2^65: about one in ten trillion for a text of a thousand words.
"""

from array import array
from unicodedata import category, normalize

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport UINT64_MAX, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, strlen

cdef extern from "Python.h":  # macros over immutable tables and strings: safe without the interpreter lock
    int PyUnicode_4BYTE_KIND
    int PyUnicode_KIND(object string)
    void* PyUnicode_DATA(object string)
    Py_UCS4 PyUnicode_READ(int kind, const void* data, Py_ssize_t i) nogil
    str PyUnicode_FromKindAndData(int kind, const void* buffer, Py_ssize_t size)
    bint Py_UNICODE_ISALNUM(Py_UCS4 c) nogil
    bint Py_UNICODE_ISDECIMAL(Py_UCS4 c) nogil
    bint Py_UNICODE_ISLINEBREAK(Py_UCS4 c) nogil
    bint Py_UNICODE_ISLOWER(Py_UCS4 c) nogil
    bint Py_UNICODE_ISPRINTABLE(Py_UCS4 c) nogil
    bint Py_UNICODE_ISSPACE(Py_UCS4 c) nogil
    bint Py_UNICODE_ISUPPER(Py_UCS4 c) nogil


cdef struct Text:
    int kind
    void* data
    Py_ssize_t size


cdef inline Text view(str text) noexcept:
    return Text(PyUnicode_KIND(text), PyUnicode_DATA(text), len(text))


cdef inline Py_UCS4 at(const Text* text, Py_ssize_t i) noexcept nogil:
    return PyUnicode_READ(text.kind, text.data, i)


# --- characters ------------------------------------------------------------------------------------------------------

cdef enum:
    TABLE_SIZE = 0x20000  # no punctuation lies beyond the first two planes

cdef unsigned char punctuation_table[TABLE_SIZE]


cdef void fill_punctuation_table() except *:
    # Everything in Unicode's P categories, and ASCII's symbols too, as string.punctuation has it.
    cdef Py_UCS4 c
    for c in range(33, TABLE_SIZE):
        if c < 128:
            punctuation_table[c] = not Py_UNICODE_ISALNUM(c) and c != 127
        elif Py_UNICODE_ISPRINTABLE(c) and not Py_UNICODE_ISALNUM(c):
            punctuation_table[c] = (<str>category(chr(c)))[0] == "P"


fill_punctuation_table()


cdef inline bint is_punctuation(Py_UCS4 c) noexcept nogil:
    return c < TABLE_SIZE and punctuation_table[c]


# --- hashes ----------------------------------------------------------------------------------------------------------

cdef enum:
    SHINGLE_WORDS = 3


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t start_hash() noexcept nogil:
    return <uint64_t>0xCBF29CE484222325


cdef inline uint64_t add_char(uint64_t h, Py_UCS4 c) noexcept nogil:
    """One step of FNV-1a, over code points; `mix` closes it."""
    return (h ^ <uint64_t>c) * <uint64_t>0x100000001B3


cdef uint64_t hash_ascii(const char* word) noexcept nogil:
    cdef uint64_t h = start_hash()
    while word[0]:
        h = add_char(h, <Py_UCS4>word[0])
        word += 1
    return mix(h)


cdef uint64_t ARTICLE_A = hash_ascii(b"a")
cdef uint64_t ARTICLE_AN = hash_ascii(b"an")
cdef uint64_t ARTICLE_THE = hash_ascii(b"the")


cdef int compare(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t*>a)[0], y = (<const uint64_t*>b)[0]
    return (x > y) - (x < y)


cdef struct Terms:
    const uint64_t* hashes  # ascending
    Py_ssize_t size


cdef Terms terms_of(const uint64_t[::1] hashes) noexcept:
    cdef const uint64_t* first = NULL
    if hashes.shape[0]:
        first = &hashes[0]
    return Terms(first, hashes.shape[0])


cdef Py_ssize_t place_of(const Terms* terms, uint64_t h) noexcept nogil:
    """Where a term is, -1 when it is not there."""
    cdef Py_ssize_t low = 0, high = terms.size, middle
    while low < high:
        middle = (low + high) // 2
        if terms.hashes[middle] < h:
            low = middle + 1
        else:
            high = middle
    return low if low < terms.size and terms.hashes[low] == h else -1


cdef inline bint contains(const Terms* terms, uint64_t h) noexcept nogil:
    return place_of(terms, h) >= 0


cdef uint64_t* hash_words(str lowered, Py_ssize_t* count) except NULL:
    """Hashes of the normalised words of a lower-case text, in order; the caller frees them."""
    cdef Text text = view(lowered)
    cdef uint64_t* hashes = <uint64_t*>PyMem_Malloc((text.size // 2 + 1) * sizeof(uint64_t))
    if hashes == NULL:
        raise MemoryError
    count[0] = fill_word_hashes(&text, hashes)
    return hashes


cdef Py_ssize_t fill_word_hashes(const Text* text, uint64_t* hashes) noexcept nogil:
    cdef Py_ssize_t i, length = 0, count = 0
    cdef uint64_t h = start_hash()
    cdef Py_UCS4 c
    for i in range(text.size + 1):
        c = at(text, i) if i < text.size else c' '
        if not Py_UNICODE_ISSPACE(c):
            if not is_punctuation(c):
                h = add_char(h, c)
                length += 1
        elif length:
            h = mix(h)
            if h != ARTICLE_A and h != ARTICLE_AN and h != ARTICLE_THE:
                hashes[count] = h
                count += 1
            h = start_hash()
            length = 0
    return count


def hash_terms(terms):
    """Return the ascending hashes of `terms`, taken as they are, as array("Q")."""
    cdef Py_UCS4 c
    cdef uint64_t h
    hashes = []
    for term in terms:
        h = start_hash()
        for c in <str>term:
            h = add_char(h, c)
        hashes.append(mix(h))
    return array("Q", sorted(hashes))


# --- words -----------------------------------------------------------------------------------------------------------

def drop_punctuation(str string not None):
    """Return `string` without punctuation characters."""
    cdef Text text = view(string)
    cdef Py_UCS4* kept = <Py_UCS4*>PyMem_Malloc((text.size + 1) * sizeof(Py_UCS4))
    if kept == NULL:
        raise MemoryError
    try:
        return PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, kept, keep_letters(&text, kept))
    finally:
        PyMem_Free(kept)


cdef Py_ssize_t keep_letters(const Text* text, Py_UCS4* kept) noexcept nogil:
    cdef Py_ssize_t i, size = 0
    cdef Py_UCS4 c
    for i in range(text.size):
        c = at(text, i)
        if not is_punctuation(c):
            kept[size] = c
            size += 1
    return size


def token_f1(str prediction not None, str gold not None):
    """Return the F1 of the two multisets of normalised words; 1.0 when both are empty."""
    cdef Py_ssize_t n = 0, m = 0
    cdef uint64_t* a = hash_words(prediction.lower(), &n)
    cdef uint64_t* b = NULL
    try:
        b = hash_words(gold.lower(), &m)
        if n == 0 or m == 0:
            return 1.0 if n == m else 0.0
        qsort(a, n, sizeof(uint64_t), compare)
        qsort(b, m, sizeof(uint64_t), compare)
        return 2.0 * count_common(a, n, b, m) / (n + m)  # = 2PR / (P + R)
    finally:
        PyMem_Free(a)
        PyMem_Free(b)


cdef Py_ssize_t count_common(const uint64_t* a, Py_ssize_t n, const uint64_t* b, Py_ssize_t m) noexcept nogil:
    cdef Py_ssize_t i = 0, j = 0, common = 0
    while i < n and j < m:
        if a[i] == b[j]:
            common += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return common


def containments(str part not None, list wholes not None, const uint64_t[::1] stop_hashes not None):
    """Return the share of part's words, stop words dropped, that occur in each of `wholes`; 0.0 when none are left."""
    cdef Py_ssize_t n = 0
    cdef Terms stops = terms_of(stop_hashes)
    cdef uint64_t* words = hash_words(part.lower(), &n)
    cdef list shares = []
    try:
        n = drop_terms(words, n, &stops)
        for whole in wholes:
            shares.append(share_in(words, n, (<str?>whole).lower()))
        return shares
    finally:
        PyMem_Free(words)


cdef Py_ssize_t drop_terms(uint64_t* words, Py_ssize_t n, const Terms* dropped) noexcept nogil:
    """Take some words out, in place; return how many are left."""
    cdef Py_ssize_t i, left = 0
    for i in range(n):
        if not contains(dropped, words[i]):
            words[left] = words[i]
            left += 1
    return left


cdef double share_in(const uint64_t* words, Py_ssize_t n, str lowered) except -1.0:
    cdef Py_ssize_t m = 0, found = 0, i
    cdef uint64_t* hashes = hash_words(lowered, &m)
    cdef Terms whole
    qsort(hashes, m, sizeof(uint64_t), compare)
    whole = Terms(hashes, m)
    for i in range(n):
        found += contains(&whole, words[i])
    PyMem_Free(hashes)
    return <double>found / n if n else 0.0


# --- index terms -----------------------------------------------------------------------------------------------------

cdef enum:
    SEPARATOR = 0
    DROPPED = 1
    PAGE_SIZE = 256
    NUM_PAGES = 0x1100
    LONGEST_STEMMED = 32

# What a character is to the index: SEPARATOR, DROPPED, or the letter without case and diacritics; a page at first use.
cdef Py_UCS4* folded_pages[NUM_PAGES]


cdef Py_UCS4* fill_folded_page(int number) except NULL:
    cdef Py_UCS4* page = <Py_UCS4*>PyMem_Malloc(PAGE_SIZE * sizeof(Py_UCS4))
    cdef int i
    if page == NULL:
        raise MemoryError
    for i in range(PAGE_SIZE):
        page[i] = <Py_UCS4>fold(chr(number * PAGE_SIZE + i))
    folded_pages[number] = page
    return page


cdef int fold(str c) except -1:
    if "\u0300" <= c <= "\u036f":  # combining diacritics
        return DROPPED
    if not c.isalnum() and (<str>category(c))[0] != "M":  # other marks are letters of their scripts
        return SEPARATOR
    letters = normalize("NFC", "".join([x for x in normalize("NFD", c.lower()) if not "\u0300" <= x <= "\u036f"]))
    return ord(letters) if len(letters) == 1 else ord(c)


cdef inline Py_UCS4 folded(Py_UCS4 c) except? 0xFFFFFFFF:
    cdef Py_UCS4* page = folded_pages[<uint64_t>c // PAGE_SIZE]
    if page == NULL:
        page = fill_folded_page(<int>(<uint64_t>c // PAGE_SIZE))
    return page[<uint64_t>c % PAGE_SIZE]


cdef inline bint is_unspaced(Py_UCS4 c) noexcept nogil:
    """Whether its script puts no space between words: Thai, Lao, Myanmar, Khmer, kana, Han."""
    return c >= 0x0E00 and (
        c < 0x0F00 or 0x1000 <= c < 0x10A0 or 0x1780 <= c < 0x1800 or 0x3005 <= c < 0x3008 or 0x3040 <= c < 0x3100
        or 0x31F0 <= c < 0x3200 or 0x3400 <= c < 0xA000 or 0xF900 <= c < 0xFB00 or 0xFF66 <= c < 0xFFA0
        or 0x20000 <= c < 0x40000
    )


def fill_terms(str string not None, uint64_t[::1] hashes not None):
    """Write the hash of every index term of `string`, in order, and return how many; 2 a character is room enough."""
    cdef Text text = view(string)
    return write_terms(&text, &hashes[0]) if text.size else 0


def fill_held(list texts not None, const uint64_t[::1] wanted not None, unsigned char[:, ::1] held not None):
    """Write into each text's row of `held` which of the `wanted` terms, ascending, it holds: 1 where it does, else 0."""
    cdef Py_ssize_t row, i, j, count, largest = 0
    cdef Terms terms = terms_of(wanted)
    cdef Text text
    cdef uint64_t* hashes
    for string in texts:
        largest = max(largest, len(<str?>string))
    hashes = <uint64_t*>PyMem_Malloc((2 * largest + 1) * sizeof(uint64_t))
    if hashes == NULL:
        raise MemoryError
    try:
        held[:, :] = 0
        for row in range(len(texts)):
            text = view(<str>texts[row])
            count = write_terms(&text, hashes)
            for i in range(count):
                j = place_of(&terms, hashes[i])
                if j >= 0:
                    held[row, j] = 1
    finally:
        PyMem_Free(hashes)


cdef Py_ssize_t write_terms(const Text* text, uint64_t* hashes) except -1:
    cdef Py_ssize_t i, length = 0, count = 0
    cdef uint64_t h = start_hash()
    cdef Py_UCS4 c, before = 0  # the character before, when both are of a script without spaces
    cdef unsigned char letters[LONGEST_STEMMED]
    cdef bint is_plain = True  # so far only a .. z
    for i in range(text.size + 1):
        c = folded(at(text, i)) if i < text.size else SEPARATOR
        if c == DROPPED:
            continue
        if c != SEPARATOR and not is_unspaced(c):
            before = 0
            h = add_char(h, c)
            if length < LONGEST_STEMMED:
                letters[length] = <unsigned char>c
            is_plain = is_plain and c'a' <= c <= c'z'
            length += 1
            continue
        if length:
            if is_plain and length <= LONGEST_STEMMED:
                h = hash_letters(letters, stem(letters, length))
            hashes[count] = mix(h)
            count += 1
            h = start_hash()
            length = 0
            is_plain = True
        if c != SEPARATOR:
            hashes[count] = mix(add_char(start_hash(), c))
            count += 1
            if before:
                hashes[count] = mix(add_char(add_char(start_hash(), before), c))
                count += 1
        before = c
    return count


cdef uint64_t hash_letters(const unsigned char* letters, Py_ssize_t size) noexcept nogil:
    cdef uint64_t h = start_hash()
    cdef Py_ssize_t i
    for i in range(size):
        h = add_char(h, letters[i])
    return h


cdef Py_ssize_t stem(unsigned char* w, Py_ssize_t n) noexcept nogil:
    """Step 1 of Porter 1980, in place: plurals, -ed and -ing, final y. Returns the new length."""
    if n < 3:
        return n
    if ends(w, n, b"sses") or ends(w, n, b"ies"):
        n -= 2
    elif w[n - 1] == c's' and w[n - 2] != c's':
        n -= 1
    if ends(w, n, b"eed"):
        n -= count_vc(w, n - 3) > 0
    elif ends(w, n, b"ed") and has_vowel(w, n - 2):
        n = mend(w, n - 2)
    elif ends(w, n, b"ing") and has_vowel(w, n - 3):
        n = mend(w, n - 3)
    if w[n - 1] == c'y' and has_vowel(w, n - 1):
        w[n - 1] = c'i'
    return n


cdef Py_ssize_t mend(unsigned char* w, Py_ssize_t n) noexcept nogil:
    """What is left of a word that lost -ed or -ing: conflat -> conflate, hopp -> hop, fil -> file."""
    if ends(w, n, b"at") or ends(w, n, b"bl") or ends(w, n, b"iz") or is_short(w, n):
        w[n] = c'e'
        return n + 1
    if n >= 2 and w[n - 1] == w[n - 2] and is_consonant(w, n - 1) and w[n - 1] not in b"lsz":
        return n - 1
    return n


cdef bint ends(const unsigned char* w, Py_ssize_t n, const char* suffix) noexcept nogil:
    cdef Py_ssize_t size = strlen(suffix)
    return n >= size and memcmp(w + n - size, suffix, size) == 0


cdef bint is_consonant(const unsigned char* w, Py_ssize_t i) noexcept nogil:
    """Whether letter i is one; a y is one at the start and after a vowel."""
    if w[i] == c'y':
        return i == 0 or not is_consonant(w, i - 1)
    return w[i] not in b"aeiou"


cdef bint has_vowel(const unsigned char* w, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if not is_consonant(w, i):
            return True
    return False


cdef int count_vc(const unsigned char* w, Py_ssize_t n) noexcept nogil:
    """How often a consonant follows a vowel: Porter's m."""
    cdef Py_ssize_t i
    cdef int m = 0
    for i in range(1, n):
        m += is_consonant(w, i) and not is_consonant(w, i - 1)
    return m


cdef bint is_short(const unsigned char* w, Py_ssize_t n) noexcept nogil:
    """Whether m = 1 and the end is consonant, vowel, consonant, the last no w, x or y."""
    return (
        n >= 3 and is_consonant(w, n - 1) and not is_consonant(w, n - 2) and is_consonant(w, n - 3)
        and w[n - 1] not in b"wxy" and count_vc(w, n) == 1
    )


# --- near duplicates -------------------------------------------------------------------------------------------------

def minhash(str text not None, uint64_t[::1] signature not None):
    """Fill `signature` with the smallest value of each hash function over the text's shingles of three words."""
    cdef Py_ssize_t n = 0
    cdef uint64_t* hashes = hash_words(text.lower(), &n)
    try:
        n = join_shingles(hashes, n)
        if signature.shape[0]:
            fill_signature(hashes, n, &signature[0], signature.shape[0])
    finally:
        PyMem_Free(hashes)


cdef Py_ssize_t join_shingles(uint64_t* hashes, Py_ssize_t n) noexcept nogil:
    """Replace word hashes by shingle hashes, in place; fewer words than a shingle make one shingle."""
    cdef Py_ssize_t words = min(n, SHINGLE_WORDS), i, j
    cdef uint64_t h
    if n == 0:
        return 0
    for i in range(n - words + 1):
        h = 0
        for j in range(words):
            h = mix(h ^ hashes[i + j])
        hashes[i] = h
    return n - words + 1


cdef void fill_signature(const uint64_t* shingles, Py_ssize_t n, uint64_t* signature, Py_ssize_t size) noexcept nogil:
    """Function i is x -> a x + b mod 2^64, a odd: a permutation, the same on every machine."""
    cdef Py_ssize_t i, j
    cdef uint64_t a, b, h, smallest
    for i in range(size):
        a = mix(<uint64_t>(2 * i + 1)) | 1
        b = mix(<uint64_t>(2 * i + 2))
        smallest = UINT64_MAX
        for j in range(n):
            h = a * shingles[j] + b
            if h < smallest:
                smallest = h
        signature[i] = smallest


def count_equal(const uint64_t[::1] a not None, const uint64_t[::1] b not None):
    """Return at how many places two signatures of one length agree."""
    cdef Py_ssize_t i, equal = 0
    for i in range(min(a.shape[0], b.shape[0])):
        equal += a[i] == b[i]
    return equal


# --- sentences -------------------------------------------------------------------------------------------------------

cdef struct Lists:
    Terms never_last  # abbreviations that no sentence ends with
    Terms before_number  # words that are abbreviations when a number follows
    Terms starters  # words that show, after initials, that a new sentence began


def sentence_spans(
    str string not None,
    const uint64_t[::1] never_last not None,
    const uint64_t[::1] before_number not None,
    const uint64_t[::1] starters not None,
):
    """Return the (start, end) of every sentence; the lists are in ASCII lower case (see `Lists`)."""
    cdef Text text = view(string)
    cdef Lists lists = Lists(terms_of(never_last), terms_of(before_number), terms_of(starters))
    cdef Py_ssize_t start = skip_space(&text, 0), end
    spans = []
    while start < text.size:
        end = sentence_end(&text, start, &lists)
        spans.append((start, trim(&text, end)))
        start = skip_space(&text, end)
    return spans


cdef inline bint is_stop(Py_UCS4 c) noexcept nogil:
    return c in u".!?…‼⁇⁈⁉؟۔։।॥" or is_wide_stop(c)


cdef inline bint is_wide_stop(Py_UCS4 c) noexcept nogil:
    return c in u"。！？｡．"  # of scripts that put no space between sentences


cdef inline bint is_closer(Py_UCS4 c) noexcept nogil:
    return c in u"\"')]}»”’›」』）】》〉〕］｝*_`"


cdef inline bint is_opener(Py_UCS4 c) noexcept nogil:
    return c in u"\"'([{«“‘‹„‚「『（【《〈〔［｛*_`¿¡"


cdef inline Py_UCS4 lower_ascii(Py_UCS4 c) noexcept nogil:
    return <Py_UCS4>(<int>c | 0x20) if 0x41 <= <int>c <= 0x5A else c


cdef Py_ssize_t skip_space(const Text* text, Py_ssize_t i) noexcept nogil:
    while i < text.size and Py_UNICODE_ISSPACE(at(text, i)):
        i += 1
    return i


cdef Py_ssize_t trim(const Text* text, Py_ssize_t end) noexcept nogil:
    while Py_UNICODE_ISSPACE(at(text, end - 1)):
        end -= 1
    return end


cdef Py_ssize_t sentence_end(const Text* text, Py_ssize_t start, const Lists* lists) noexcept nogil:
    """The end of the sentence that starts at `start`, which is not a space; > start."""
    cdef Py_ssize_t i = start, stop, close
    while i < text.size:
        if Py_UNICODE_ISLINEBREAK(at(text, i)):
            if ends_paragraph(text, i):
                return i
            i = skip_space(text, i)
        elif not is_stop(at(text, i)):
            i += 1
        else:
            stop = i
            while i < text.size and is_stop(at(text, i)):
                i += 1
            close = i
            while i < text.size and is_closer(at(text, i)):
                i += 1
            if i == text.size or is_wide_stop(at(text, close - 1)):
                return i
            if Py_UNICODE_ISSPACE(at(text, i)) and ends_sentence(text, start, stop, close, i, lists):
                return i
    return text.size


cdef bint ends_paragraph(const Text* text, Py_ssize_t i) noexcept nogil:
    """Whether the white space from `i` on holds a blank line or a page end, or leads to a list item, heading or quote."""
    cdef Py_ssize_t breaks = 0
    cdef Py_UCS4 c
    while i < text.size and Py_UNICODE_ISSPACE(at(text, i)):
        c = at(text, i)
        if c == c'\f' or c == 0x2029:
            return True
        if Py_UNICODE_ISLINEBREAK(c) and not (c == c'\n' and i and at(text, i - 1) == c'\r'):
            breaks += 1
        i += 1
    return breaks >= 2 or i == text.size or (breaks == 1 and starts_block(text, i))


cdef bint starts_block(const Text* text, Py_ssize_t i) noexcept nogil:
    """Whether a line that begins at `i` begins with a mark of structure: "- ", "* ", "+ ", "• ", "#", ">", "|", "1. "."""
    cdef Py_ssize_t first = i
    if at(text, i) in u"#>|":
        return True
    if at(text, i) in u"-*+•":
        i += 1
    else:
        while i < text.size and Py_UNICODE_ISDECIMAL(at(text, i)):
            i += 1
        if i == first or i == text.size or at(text, i) not in u".)":
            return False
        i += 1
    return i < text.size and Py_UNICODE_ISSPACE(at(text, i))


cdef bint ends_sentence(
    const Text* text, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t close, Py_ssize_t i, const Lists* lists
) noexcept nogil:
    """Whether stops [stop, close) and closers [close, i), with white space after them, end the sentence."""
    cdef bint is_period = close == stop + 1 and at(text, stop) == c'.'
    cdef bint is_dots = at(text, close - 1) == c'.' or at(text, close - 1) == 0x2026
    cdef Py_ssize_t word = stop, next_word
    cdef uint64_t h
    if ends_paragraph(text, i):
        return True
    next_word = skip_space(text, i)
    while next_word < text.size and is_opener(at(text, next_word)):
        next_word += 1
    if next_word < text.size and Py_UNICODE_ISLOWER(at(text, next_word)):
        return not is_dots and close == i  # "approx. five", "well... yes", '"Really?" he asked'
    if not is_period:
        return True
    while word > start and (at(text, word - 1) == c'.' or Py_UNICODE_ISALNUM(at(text, word - 1))):
        word -= 1
    if word == start and is_list_mark(text, word, stop):
        return False
    h = hash_lower(text, word, stop)
    if contains(&lists.never_last, h) or (contains(&lists.before_number, h) and starts_number(text, next_word)):
        return False
    return not is_initials(text, word, stop) or is_starter(text, next_word, lists)


cdef bint is_list_mark(const Text* text, Py_ssize_t i, Py_ssize_t end) noexcept nogil:
    """Whether [i, end) is one letter or a number: "1", "2.3", "b"."""
    if end == i + 1:
        return True
    while i < end and (at(text, i) == c'.' or Py_UNICODE_ISDECIMAL(at(text, i))):
        i += 1
    return i == end


cdef bint is_initials(const Text* text, Py_ssize_t i, Py_ssize_t end) noexcept nogil:
    """Whether [i, end) is a capital, or single letters with periods between them: "J", "U.S", "p.m"."""
    if end == i + 1:
        return Py_UNICODE_ISUPPER(at(text, i))
    if (end - i) % 2 == 0:
        return False
    while i < end:
        if not Py_UNICODE_ISALNUM(at(text, i)) or (i + 1 < end and at(text, i + 1) != c'.'):
            return False
        i += 2
    return True


cdef bint starts_number(const Text* text, Py_ssize_t i) noexcept nogil:
    return i < text.size and Py_UNICODE_ISDECIMAL(at(text, i))


cdef bint is_starter(const Text* text, Py_ssize_t i, const Lists* lists) noexcept nogil:
    cdef Py_ssize_t end = i
    while end < text.size and Py_UNICODE_ISALNUM(at(text, end)):
        end += 1
    if end == i + 1 and end < text.size and at(text, end) == c'.':
        return False  # "J. A. Smith"
    return contains(&lists.starters, hash_lower(text, i, end))


cdef uint64_t hash_lower(const Text* text, Py_ssize_t i, Py_ssize_t end) noexcept nogil:
    cdef uint64_t h = start_hash()
    while i < end:
        h = add_char(h, lower_ascii(at(text, i)))
        i += 1
    return mix(h)
