@0xa3d6c2f17b9e4d15;

interface Work {
  plain @0 (from :Text, to :Text, amount :UInt64) -> (id :UInt64, balance :UInt64);
}
