"""Data sets: each is a function that a YAML of conf/data names and that returns a :class:`cnntrain.data.dataset.Data`.

Contract: ``name(*, its own keys, seed) -> Data``. The call is cheap: it reads and downloads nothing (``folder`` looks at names only),
so that a summary needs no pictures. ``Data`` has ``name classes in_channels image_size num_train class_counts mean std warnings`` and the
parts ``train``, ``val``, ``test``, each read and checked on first use. A part (:mod:`cnntrain.data.split`) has ``labels`` int64 (N,),
``names`` and ``fetch(orders)``, which gives (uint8 (B,C,H,W), labels (B,), index (B,)) for each index tensor (B,) of ``orders``, in that
order.
A set of your own describes itself by a :class:`cnntrain.data.dataset.Source`;
:func:`cnntrain.data.resize.sized` brings one to another size.
"""
