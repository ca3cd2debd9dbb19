package reconcile

// bitmap is a set of small numbers, one bit each: a million users are 128 KB. The zero value is empty.
type bitmap []uint64

func (b *bitmap) set(n int64) {
	word := int(n >> 6)
	for word >= len(*b) {
		*b = append(*b, make([]uint64, max(word+1-len(*b), len(*b)))...)
	}
	(*b)[word] |= 1 << (uint(n) & 63)
}

func (b bitmap) has(n int64) bool {
	word := int(n >> 6)
	return word < len(b) && b[word]&(1<<(uint(n)&63)) != 0
}
