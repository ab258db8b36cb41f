<?php

declare(strict_types=1);

require __DIR__ . '/../src/WordCount.php';

function check(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}

check(WordCount::count('b a b') === ['b' => 2, 'a' => 1], 'frequent words do not come first');
check(WordCount::count(" \n") === [], 'nothing has words');
echo "2 tests passed\n";
