"""Pictures of ``lifting-ros eval 3d``: calibration, and error by the camera's pitch."""

from pathlib import Path


def plot(curves, folder):
    """Draw the curves of :func:`.tables3d.evaluate`; returns the paths of the PNG files."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    figure, axes = plt.subplots(figsize=(4.2, 4.0), layout='constrained')
    c = curves['calibration']
    axes.plot([0, 1], [0, 1], color='0.6', lw=1, label='ideal')
    for what, marker in (('seen', 'o'), ('unseen', 's')):
        axes.plot(c['nominal'], c[what], marker=marker, ms=3, lw=1, label=f'joints {what}')
    axes.set(xlabel='share that the ellipsoid should hold', ylabel='share that it holds',
             xlim=(0, 1), ylim=(0, 1), aspect='equal')
    axes.grid(alpha=0.3)
    axes.legend()
    paths = [folder / 'eval3d_calibration.png', folder / 'eval3d_pitch.png']
    figure.savefig(paths[0], dpi=120)
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(4.8, 3.4), layout='constrained')
    c = dict(curves['pitch'])
    degrees = c.pop('degrees')
    names = {'lifter': 'gravity known', 'peer': 'simple baseline'}
    for (what, values), marker in zip(c.items(), 'os^', strict=False):
        axes.plot(degrees, values, marker=marker, ms=4, lw=1.2, label=names.get(what, what))
    axes.set(xlabel='camera looks down by, degrees', ylabel='MPJPE, mm',
             ylim=(0, 1.15 * max(map(max, c.values()))), xticks=degrees)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(paths[1], dpi=120)
    plt.close(figure)
    return paths
