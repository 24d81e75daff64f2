{#- The duration in the middle of a bucket, in ms: within 2.5 % of all durations that lie in it. -#}
{%- macro bucket_middle(bucket) -%}
    exp(({{ bucket }} + 0.5) / 20)
{%- endmacro -%}
