// Writes npm_ranges.json: what npm's own semver says of some hundreds of ranges. Run it again after changing it:
//   node npm_ranges.js "$(npm root -g)/npm/node_modules/semver" > npm_ranges.json
const path = require("path");
const semver = require(path.resolve(process.argv[2]));

const versions = semver.sort([
  "0.7.10", "0.8.0-rc1", "0.8.0-rc4", "0.8.0", "0.16.3", "0.16.10", "0.17.0", "0.17.4", "0.22.0-rc", "0.22.0",
  "0.22.1", "0.22.14", "0.22.27", "0.22.38", "0.23.0-rc1", "0.23.0-rc2", "0.23.0-rc10", "0.23.0", "0.23.12", "0.30.4",
  "0.36.9", "0.38.1", "0.39.11", "0.40.0", "0.40.6", "0.41.0-rc.1", "0.41.0-rc.2", "0.41.0-rc.11", "1.0.0-alpha",
  "1.0.0-alpha.1", "1.0.0-beta", "1.0.0", "1.2.3", "2.0.0-0", "2.0.0",
]);

const chosen = [
  "0.22.27", "v0.22.27", "=0.22.27", "= 0.22.27", "=v0.22.27", "~0.22.0", "~0.22", "~0", "~ 0.22.1", "~>0.22.1", "0.22.*",
  "0.22.x", "0.22.X", "0.22", "0", "0.x", "0.*.*", "*", "x", "X", "^0.22.1", "^0.22", "^0", "^0.0.3", "^0.0", "^1.0.0",
  "^1.0.0-alpha", "^1.x", "^0.x", "^*", "~*", ">=0.22 <0.24", ">= 0.22 < 0.24", ">0.22", ">0.22.x", "<0.22", "<=0.22",
  "<=0.23.0-rc1 <0.23", "<=0.22.27", ">=0.22.27", "<0.23.0", "0.22 || 0.23", "0.22||0.23", "0.22.27 || 0.40.6", "|| 0.22", "0.22 ||", "||",
  "0.22.1 - 0.23.0", "0.22 - 0.23", "0.22 - 0.23.0", "0.22.1 - 0", "0.22.1-0.23.0", "~0.23.0-rc1", "^0.23.0-rc1",
  ">=0.23.0-rc1", ">=0.23.0-rc1 <0.23.0", ">0.23.0-rc2 <=0.23.0", "0.23.0-rc1", "0.23.0-rc.1", "~0.41.0-rc.1", "0.41.x-rc",
  ">=0.41.0-rc.2", "<0.41.0-rc.2", ">=0.22.0-rc <0.24", ">=1.0.0-alpha <1.0.0", "1.0.0-alpha - 1.0.0-beta", "^2.0.0-0",
  "0.22.27+build", "0.22.27+build.5-x", ">=0.22.27+b", "1.2.3.4", "1.2.3-", "1.2.3+", "01.2.3", "1.02.3", "1.2.03",
  "1.2.3-01", "1.2.3-0a", "latest-1", "newest", "abc", ">", "<", ">=", "^", "~", "=", ">>0.22", "=>0.22", "><0.22", "!0.22",
  "!=0.22.0", "0.22,0.23", "0.22 && 0.23", "0.22 | 0.23", "0.22 ||| 0.23", "0..22", ".22", "0.", "0.22.", "v", "vv0.22.0",
  "0.22.27 0.40.6", "0.22.27 0.22.27", ">=0.22 >=0.40", ">0.40 <0.22", "<0.0.0", "<0.0.0-0", ">=0.0.0", ">*", "<*", ">=*", "<=*",
  ">x", "<x", ">=x", ">0", "<1", "<=1", ">1", ">=1", "<1.0.0-0", "1", "1.x.3", "x.1.2", "*.1", "0.*.3", "~1.x", "~0.x.3", "^0.x.3",
  "-1", "1.-2", "1e3", "0x16", " 0.22.27 ", "\t0.22.27", "0.22.27\t||\t0.23", "9007199254740991.0.0", "~0.22.27 || ^0.40.0 || 1.x",
  ">=0.22.1 <0.22.20 || >=0.40", "0.22.27 - 0.23.0 || 0.40", "^0.22.1 ^0.22.14", "~0.22.1 !0.22.14", "0.22.*-rc", "0.22.0-*",
  "~v0.22.1", "^v0.22.1", "^=0.22.1", "~=0.22.1", ">=v0.22", "=0.22", "==0.22.0", "0.22.0-rc || 0.23.0-rc1", "~0.22.0-rc",
  ">0.22.0-rc", ">=0.22.0-rc <0.22.1", "^0.22.0-rc", "<=0.23.0-rc2 >0.23.0-rc1", "file:0.22.0", "http://x", "npm:a@1", "git+x",
  "0.22.27;rm", "$(0.22)", "'0.22'", "\"0.22\"", "0.22.27 -", "- 0.22.27", "0.22 -0.23", "0.22- 0.23", "0.1 - 0.2 - 0.3",
  "0.22.27 - *", "* - 0.22.27", "* - *", "0.22.27 - x", "~0.22.27 - 0.40", ">=0.22 - 0.40", "1.0.0-alpha.beta", "1.0.0--", "1.0.0-a..b",
];

let seed = 20220227;
function random(n) {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = (list) => list[random(list.length)];
const number = (tail) => pick([...tail, ...tail, ...tail, "x", "*", "0", "1"]);
function partial() {
  if (!random(4)) return pick(versions.filter((version) => version.includes("-")));
  const parts = [pick(["0", "0", "0", "0", "0", "0", "0", "0", "0", "1", "2", "x"])];
  if (random(8)) parts.push(number(["22", "23", "36", "40", "41"]));
  if (parts.length === 2 && random(3)) parts.push(number(["0", "1", "6", "12", "27"]));
  return parts.join(".") + (parts.length === 3 && !random(5) ? pick(["-rc", "-rc.1", "-rc1", "-0", "-alpha.1", "+b"]) : "");
}
function comparators() {
  if (!random(8)) return `${partial()} - ${partial()}`;
  return Array.from({ length: pick([1, 1, 2, 2, 3]) },
    () => pick(["", "", "~", "^", ">=", ">", "<", "<=", "=", ">= ", "~> "]) + partial()).join(pick([" ", " ", "  "]));
}
const made = Array.from({ length: 420 }, () => Array.from({ length: pick([1, 1, 1, 2]) }, comparators).join(pick([" || ", "||"])));

const cases = [...new Set([...chosen, ...made])].map((range) => ({
  range,
  valid: semver.validRange(range) !== null,
  exact: semver.valid(range) !== null,
  matches: versions.filter((version) => semver.satisfies(version, range)),
  newest: semver.maxSatisfying(versions, range),
}));
const lines = cases.map((item) => "    " + JSON.stringify(item)).join(",\n");
const about = `semver ${require(path.join(path.resolve(process.argv[2]), "package.json")).version}`;
console.log(`{\n  "made_with": ${JSON.stringify(about)},\n  "versions": ${JSON.stringify(versions)},\n  "cases": [\n${lines}\n  ]\n}`);
