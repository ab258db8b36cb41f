import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Counts the words of a text. */
public final class WordCount {
    /** The words of {@code text}, the most frequent first, then by the alphabet. */
    static List<Map.Entry<String, Integer>> count(String text) {
        Map<String, Integer> counts = new TreeMap<>();
        for (String word : text.strip().split("\\s+")) {
            if (!word.isEmpty()) {
                counts.merge(word, 1, Integer::sum);
            }
        }
        Comparator<Map.Entry<String, Integer>> byTimes = Map.Entry.comparingByValue(Comparator.reverseOrder());
        return counts.entrySet().stream().sorted(byTimes).toList();
    }

    static void test() {
        assert count("b a b").equals(List.of(Map.entry("b", 2), Map.entry("a", 1)));
        assert count(" \n").isEmpty();
        System.out.println("2 tests passed");
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments[0].equals("--test")) {
            test();
            return;
        }
        for (Map.Entry<String, Integer> entry : count(Files.readString(Path.of(arguments[0]))).subList(0, 3)) {
            System.out.println(entry.getValue() + " " + entry.getKey());
        }
    }
}
