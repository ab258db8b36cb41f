// Command wordcount prints the most frequent words of a file.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// Count returns the words of text, the most frequent first, then by the alphabet.
func Count(text string) ([]string, map[string]int) {
	counts := map[string]int{}
	for _, word := range strings.Fields(text) {
		counts[word]++
	}
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	sort.Slice(words, func(i, j int) bool {
		a, b := words[i], words[j]
		return counts[a] > counts[b] || counts[a] == counts[b] && a < b
	})
	return words, counts
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	words, counts := Count(string(text))
	for _, word := range words[:3] {
		fmt.Println(counts[word], word)
	}
}
