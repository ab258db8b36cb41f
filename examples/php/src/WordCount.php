<?php

declare(strict_types=1);

/** Counts the words of a text. */
final class WordCount
{
    /** @return array<string, int> the words, the most frequent first, then by the alphabet */
    public static function count(string $text): array
    {
        $counts = array_count_values(preg_split('/\s+/', $text, -1, PREG_SPLIT_NO_EMPTY));
        ksort($counts);
        arsort($counts);
        return $counts;
    }
}
