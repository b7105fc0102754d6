/* plots.h - pictures of a run's curves, drawn by gnuplot: images/train_loss.png and .svg, one
 * pair a tag, as ms-swift draws them with another program. */
#ifndef APUSI_PLOTS_H
#define APUSI_PLOTS_H

#include "run_log.h"

/* Draw every curve into `folder` (made with its parents).  The loss of training has its raw values
 * pale and a smoothed line over them.  A failure is for a warning: training goes on without
 * pictures.
 * Errors: APUS_ERR_MISSING (gnuplot is not installed), APUS_ERR_IO, APUS_ERR_ARG (a folder with
 * control characters in its name), APUS_ERR_MEMORY. */
apus_status apus_plots_draw(const char *folder, const apus_curve *curves, size_t n);

/* out[i]: the mean of values[0..i] with weights that fall by `weight` a step back; [0, 1).
 * Values that are not finite are passed over. */
void apus_curve_smooth(double *out, const double *values, size_t n, double weight);
#define APUS_CURVE_WEIGHT 0.9

#endif
