package pki

import (
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"

	"github.com/letsencrypt/boulder/goodkey"
	"github.com/titanous/rocacheck"
)

// judge asks Let's Encrypt's checks, and returns which one refused: "small prime",
// "Infineon", "too close together" or "" for none.
func judge(t *testing.T, n *big.Int) string {
	t.Helper()
	policy, err := goodkey.NewPolicy(&goodkey.Config{FermatRounds: fermatRounds}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verdict(t, policy.GoodKey(t.Context(), &rsa.PublicKey{N: n, E: rsaExponent}))
}

func verdict(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	for _, why := range []string{"small prime", "Infineon", "too close together"} {
		if strings.Contains(err.Error(), why) {
			return why
		}
	}
	t.Fatalf("no such verdict: %v", err)
	return ""
}

// nearby makes a modulus of two factors, without small ones of their own, of which
// Fermat's method finds the middle after about as many rounds.
func nearby(t *testing.T, bits, rounds int) *big.Int {
	t.Helper()
	a := oddOfSize(t, bits/2)
	a.SetBit(a, bits/2-2, 1)
	b := new(big.Int).Mul(a, big.NewInt(2*int64(rounds)))
	b.Sqrt(b)
	b.SetBit(b, 0, 0) // a - b and a + b are odd
	for {
		if n := new(big.Int).Mul(new(big.Int).Sub(a, b), new(big.Int).Add(a, b)); !hasSmallFactor(n) {
			return n
		}
		a.Sub(a, big.NewInt(2))
	}
}

// TestWeakRSA puts the same moduli before our checks and before Let's Encrypt's.
func TestWeakRSA(t *testing.T) {
	rocaMask := big.NewInt(1)
	for _, p := range rocaPrimes {
		rocaMask.Mul(rocaMask, new(big.Int).SetUint64(p))
	}
	kinds := map[string]struct {
		make func(bits, i int) *big.Int
		want []string // verdicts that must occur; no others may
	}{
		"of random primes": {func(bits, i int) *big.Int { return rsaKey(t, 2048).N }, []string{""}},
		"at random": {func(bits, i int) *big.Int {
			n := oddOfSize(t, bits)
			return n.Sub(n, big.NewInt(int64(2*(i%7)))) // may bring a small factor back
		}, []string{"", "small prime"}},
		"a small factor each": {func(bits, i int) *big.Int {
			p := smallPrimes[i%len(smallPrimes)]
			n := oddOfSize(t, bits)
			n.Sub(n, new(big.Int).Mod(n, new(big.Int).SetUint64(p)))
			if n.Bit(0) == 0 {
				n.Sub(n, new(big.Int).SetUint64(p))
			}
			return n
		}, []string{"small prime"}},
		"the first prime that is not small": {func(bits, i int) *big.Int {
			for {
				n := oddOfSize(t, bits-10)
				if n.Mul(n, big.NewInt(757)); n.BitLen() == bits {
					return n
				}
			}
		}, []string{""}},
		"ROCA": {func(bits, i int) *big.Int { return rocaModulus(t, bits) }, []string{"Infineon"}},
		"ROCA but for one prime": {func(bits, i int) *big.Int {
			p := new(big.Int).SetUint64(rocaPrimes[i%len(rocaPrimes)])
			step := new(big.Int).Div(rocaMask, p)
			n := rocaModulus(t, bits)
			n.SetBit(n, bits-1, 1)
			return n.Sub(n, step.Lsh(step, uint(1+i%5)))
		}, []string{"", "Infineon", "small prime"}},
		"factors around the last round": {func(bits, i int) *big.Int {
			return nearby(t, bits, 1+i%(2*fermatRounds))
		}, []string{"", "too close together"}},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rounds := 2 * fermatRounds
			if name == "of random primes" {
				rounds = 5
			}
			seen := map[string]int{}
			for i := range rounds {
				n := kind.make([]int{2048, 3072, 4096}[i%3], i)
				theirs := judge(t, n)
				if ours := verdict(t, checkRSAModulus(n)); ours != theirs {
					t.Fatalf("%x: we say %q, they %q", n, ours, theirs)
				}
				if got, want := hasROCAFingerprint(n), rocacheck.IsWeak(&rsa.PublicKey{N: n}); got != want {
					t.Fatalf("%x: ROCA %v, rocacheck says %v", n, got, want)
				}
				seen[theirs]++
			}
			for _, why := range kind.want {
				if seen[why] == 0 {
					t.Errorf("verdict %q does not occur: %v", why, seen)
				}
				delete(seen, why)
			}
			if len(seen) > 0 {
				t.Errorf("verdicts that should not occur: %v", seen)
			}
		})
	}
}

// TestSquareModulus is about the one weakness that the judge overlooks.
func TestSquareModulus(t *testing.T) {
	for _, bits := range []int{2048, 2100, 4096} {
		p := oddOfSize(t, bits/2)
		if why := verdict(t, checkRSAModulus(p.Mul(p, p))); why != "too close together" {
			t.Errorf("the square of a number of %d bits: %q", bits/2, why)
		}
	}
}

func TestSquareTest(t *testing.T) {
	squares := newSquareTest()
	roots := map[int64]bool{}
	for i := range int64(500) {
		roots[i*i] = true
	}
	for i := range int64(500 * 500) {
		if got := squares.is(big.NewInt(i)); got != roots[i] {
			t.Fatalf("%d: %v", i, got)
		}
	}
	for range 100 {
		n := oddOfSize(t, 1030)
		n.Mul(n, n)
		if !squares.is(n) || squares.is(n.Add(n, big.NewInt(1))) {
			t.Fatalf("wrong about %v or the number before", n)
		}
	}
}

// TestSmallPrimes keeps the table complete.
func TestSmallPrimes(t *testing.T) {
	var want []uint64
	for n := int64(3); n < 752; n++ {
		if big.NewInt(n).ProbablyPrime(0) {
			want = append(want, uint64(n))
		}
	}
	if len(want) != len(smallPrimes) {
		t.Fatalf("%d primes, want %d", len(smallPrimes), len(want))
	}
	for i, p := range smallPrimes {
		if p != want[i] {
			t.Errorf("%d instead of %d", p, want[i])
		}
	}
}
