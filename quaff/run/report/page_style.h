// The page's CSS: cards that fold into one column on a phone, in the reader's light or dark theme.
#pragma once

namespace quaff {

inline constexpr const char* kPageStyle = R"css(
:root { color-scheme: light dark; --back: #f6f8fa; --card: #ffffff; --text: #1f2328; --weak: #59636e; --rule: #d1d9e0;
  --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df; --c4: #bf3989; --c5: #0b7285; --c6: #7d4e00; --c7: #57606a;
  --alarm: #cf222e }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --card: #151b23; --text: #e6edf3; --weak: #9198a1;
  --rule: #3d444d; --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8; --c4: #f778ba; --c5: #39c5cf;
  --c6: #d29922; --c7: #9198a1; --alarm: #ff7b72 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1320px; margin: 0 auto; padding: 20px 16px 48px }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere } h2 { font-size: 17px; margin: 32px 0 10px }
.weak, figcaption small { color: var(--weak); font-weight: 400 }
.tiles, .charts { display: grid; gap: 12px }
.tiles { grid-template-columns: repeat(auto-fit, minmax(172px, 1fr)); margin: 18px 0 12px }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)) }
.tile, figure, .box { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 10px 14px }
.tile b { display: block; font-size: 20px; font-variant-numeric: tabular-nums } .tile span { color: var(--weak) }
figure { margin: 0; min-width: 0; max-width: 640px } figcaption { font-weight: 600; margin-bottom: 6px }
figure.wide { max-width: none } figure svg, figure img { display: block; width: 100%; height: auto }
svg text { fill: var(--weak); font: 11.5px system-ui, sans-serif } .grid { stroke: var(--rule) }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round } .faint { opacity: .35; stroke-width: 1 }
.dashed { stroke-dasharray: 5 4 } circle.dot { stroke: none } circle.dot.alarm { fill: var(--alarm) }
.box { overflow-x: auto } .note { border-left: 3px solid var(--alarm); margin: 8px 0 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: 3px 18px 3px 0; vertical-align: top }
th { color: var(--weak); font-weight: 600; white-space: nowrap } tr + tr > * { border-top: 1px solid var(--rule) }
.figures td { font-variant-numeric: tabular-nums; white-space: nowrap } .options td { overflow-wrap: anywhere }
pre { margin: 2px 0 12px; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 10px 0; overflow-wrap: anywhere }
.legend i { display: inline-block; width: 18px; height: 4px; border-radius: 2px; margin-right: 7px; vertical-align: 3px }
)css";

}  // namespace quaff
