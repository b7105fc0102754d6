/* chart.h - a curve as an SVG picture inside a page. */
#ifndef APUSI_CHART_H
#define APUSI_CHART_H

#include "run_log.h"
#include "str.h"

/* Append <svg> of one curve: axes with round numbers, the raw line, the smoothed one if `smooth`.
 * A curve with no finite value gives a sentence instead. */
void apusi_chart_add(apus_str *page, const apus_curve *curve, bool smooth);
/* Append text with &, <, >, " and ' escaped; control characters but line feed and tab become
 * U+FFFD. */
void apusi_html_add(apus_str *page, const char *text);

#endif
