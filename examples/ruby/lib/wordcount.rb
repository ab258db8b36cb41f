# Counts the words of a text.
module WordCount
  # The words of `text`, the most frequent first, then by the alphabet.
  def self.count(text)
    text.split.tally.sort_by { |word, times| [-times, word] }
  end
end

if $PROGRAM_NAME == __FILE__
  WordCount.count(File.read(ARGV.fetch(0))).first(3).each { |word, times| puts "#{times} #{word}" }
end
