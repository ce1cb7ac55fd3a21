"""The seventeen joints of this project and the way to them from other joint orders.

Left and right are the person's own. ``pelvis`` is the middle of the hips, ``neck`` the middle
of the shoulders raised as the source defines it, ``spine`` the middle between pelvis and neck.
"""

from types import MappingProxyType

import numpy as np

JOINTS = (
    'pelvis', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
    'spine', 'neck', 'nose', 'head_top',
    'left_shoulder', 'left_elbow', 'left_wrist', 'right_shoulder', 'right_elbow', 'right_wrist',
)
NUM_JOINTS = len(JOINTS)
INDEX = MappingProxyType({name: i for i, name in enumerate(JOINTS)})

PELVIS, SPINE, NECK, NOSE, HEAD_TOP = (INDEX[n] for n in ('pelvis', 'spine', 'neck', 'nose',
                                                          'head_top'))
HIPS = (INDEX['right_hip'], INDEX['left_hip'])
SHOULDERS = (INDEX['right_shoulder'], INDEX['left_shoulder'])

#: Parent of each joint in the tree that starts at the pelvis (-1).
PARENTS = tuple(
    INDEX[p] if p else -1 for p in (
        None, 'pelvis', 'right_hip', 'right_knee', 'pelvis', 'left_hip', 'left_knee',
        'pelvis', 'spine', 'neck', 'nose',
        'neck', 'left_shoulder', 'left_elbow', 'neck', 'right_shoulder', 'right_elbow',
    )
)
#: (child, parent) pairs.
BONES = tuple((child, parent) for child, parent in enumerate(PARENTS) if parent >= 0)

#: MIRROR[j] is the joint that j becomes when left and right are exchanged.
MIRROR = tuple(
    INDEX[n.replace('left_', 'RIGHT_').replace('right_', 'left_').replace('RIGHT_', 'right_')]
    for n in JOINTS
)

#: The twelve limb joints on which PCK is measured.
LIMBS = tuple(INDEX[s + j] for s in ('right_', 'left_')
              for j in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle'))

#: The fourteen joints of Leeds Sports Pose: without pelvis, spine and nose.
LSP_JOINTS = tuple(i for i, n in enumerate(JOINTS) if n not in ('pelvis', 'spine', 'nose'))

#: Groups that share one calibration scalar.
GROUPS = MappingProxyType({
    'torso': tuple(INDEX[n] for n in ('pelvis', 'right_hip', 'left_hip', 'spine', 'neck',
                                      'left_shoulder', 'right_shoulder')),
    'head': (NOSE, HEAD_TOP),
    'elbows_knees': tuple(INDEX[s + j] for s in ('left_', 'right_') for j in ('elbow', 'knee')),
    'wrists': (INDEX['left_wrist'], INDEX['right_wrist']),
    'ankles': (INDEX['left_ankle'], INDEX['right_ankle']),
})

_COCO = ('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear',
         'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist',
         'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle',
         'right_ankle')
_MPII = ('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle',
         'pelvis', 'thorax', 'neck', 'head_top', 'right_wrist', 'right_elbow', 'right_shoulder',
         'left_shoulder', 'left_elbow', 'left_wrist')
_LSP = ('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle',
        'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow',
        'left_wrist', 'neck', 'head_top')
_BODY_25 = ('nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
            'left_elbow', 'left_wrist', 'pelvis', 'right_hip', 'right_knee', 'right_ankle',
            'left_hip', 'left_knee', 'left_ankle', 'right_eye', 'left_eye', 'right_ear',
            'left_ear', 'left_big_toe', 'left_small_toe', 'left_heel', 'right_big_toe',
            'right_small_toe', 'right_heel')
_HALPE_26 = _COCO + ('head_top', 'neck', 'pelvis', 'left_big_toe', 'right_big_toe',
                     'left_small_toe', 'right_small_toe', 'left_heel', 'right_heel')
_BLAZEPOSE_33 = ('nose', 'left_eye_inner', 'left_eye', 'left_eye_outer', 'right_eye_inner',
                 'right_eye', 'right_eye_outer', 'left_ear', 'right_ear', 'mouth_left',
                 'mouth_right', 'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow',
                 'left_wrist', 'right_wrist', 'left_pinky', 'right_pinky', 'left_index',
                 'right_index', 'left_thumb', 'right_thumb', 'left_hip', 'right_hip',
                 'left_knee', 'right_knee', 'left_ankle', 'right_ankle', 'left_heel',
                 'right_heel', 'left_foot_index', 'right_foot_index')

#: Names of the joints in other orders, in their order.
ORDERS = MappingProxyType({
    'lifting_ros': JOINTS, 'coco': _COCO, 'mpii': _MPII, 'lsp': _LSP, 'body_25': _BODY_25,
    'halpe_26': _HALPE_26, 'blazepose_33': _BLAZEPOSE_33,
})


def convert(keypoints, confidence, order):
    """Bring keypoints of another order to the project's seventeen joints.

    A pelvis, neck or spine that the order lacks is made from its two neighbours, as design has
    it (middle of the hips, of the shoulders, of pelvis and neck), where both are known; every
    other joint that the order lacks is NaN with confidence 0. MPII's ``neck`` (upper neck) is
    not ours: its ``thorax`` is.

    Args:
        keypoints: (..., J, D) positions, pixels or metres, NaN where unknown.
        confidence: (..., J) in 0..1, 0 where not seen.
        order: a key of :data:`ORDERS`.

    Returns:
        keypoints (..., 17, D) and confidence (..., 17), float64.

    Raises:
        ValueError: unknown order, or J is not that order's length.
    """
    if order not in ORDERS:
        raise ValueError(f'unknown joint order {order!r}; known: {", ".join(ORDERS)}')
    names = list(ORDERS[order])
    keypoints = np.asarray(keypoints, dtype=np.float64)
    confidence = np.asarray(confidence, dtype=np.float64)
    if keypoints.shape[-2] != len(names) or confidence.shape != keypoints.shape[:-1]:
        raise ValueError(f'{order} has {len(names)} joints; got keypoints {keypoints.shape} and '
                         f'confidence {confidence.shape}')
    if order == 'mpii':
        names[names.index('neck')], names[names.index('thorax')] = 'upper_neck', 'neck'
    out = np.full(keypoints.shape[:-2] + (NUM_JOINTS, keypoints.shape[-1]), np.nan)
    conf = np.zeros(keypoints.shape[:-2] + (NUM_JOINTS,))
    for ours, name in enumerate(JOINTS):
        if name in names:
            theirs = names.index(name)
            known = (confidence[..., theirs] > 0) & np.isfinite(keypoints[..., theirs, :]).all(-1)
            out[..., ours, :] = np.where(known[..., None], keypoints[..., theirs, :], np.nan)
            conf[..., ours] = np.where(known, confidence[..., theirs], 0.0)
    for middle, (a, b) in ((PELVIS, HIPS), (NECK, SHOULDERS), (SPINE, (PELVIS, NECK))):
        if JOINTS[middle] not in names:
            out[..., middle, :] = (out[..., a, :] + out[..., b, :]) / 2
            both = np.minimum(conf[..., a], conf[..., b])
            conf[..., middle] = np.where(np.isfinite(out[..., middle, :]).all(-1), both, 0.0)
    return out, conf
