<?php

declare(strict_types=1);

require __DIR__ . '/src/WordCount.php';

foreach (array_slice(WordCount::count(file_get_contents($argv[1])), 0, 3) as $word => $times) {
    echo "$times $word\n";
}
